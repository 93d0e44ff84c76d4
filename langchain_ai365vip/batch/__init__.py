"""Bulk work: rows of a JSON Lines file in, a row with an answer or a typed error out, resumable.

`run` answers rows, here and on a cluster; `files` reads the input and extends the output.

An input row is a prompt (`"text"`), or an object with a `prompt` or a list of `messages`, and
an `id` if it has one; without, its place in the file (from 0) is its id. An output row is
`{"id", "index", "output"}` or `{"id", "index", "error": {"type", "message", ...}}`; `index` is
the row's place. With an output stand `finish_reason` ("length": the answer was cut), `model` and,
where the model says it, `usage`. A row without an id has a `digest` of what it asks, too, by which
a later run sees that another row has taken its place.

Output rows are appended as they are ready, each with one write. A run that was interrupted
goes on where it stopped: rows that are answered are not asked for again, rows whose failure may
pass are, and what a `kill -9` left of a line is taken away. Only ids are kept in memory.
"""

from langchain_ai365vip.batch.run import (
    Progress,
    RayRows,
    abatch_file,
    answer_row,
    answering,
    batch_file,
    messages_of,
)

__all__ = [
    "Progress",
    "RayRows",
    "abatch_file",
    "answer_row",
    "answering",
    "batch_file",
    "messages_of",
]
