"""What a message's content says in text: content blocks of every dialect. Pure functions.

Blocks are read in LangChain's v0 and v1 forms and in OpenAI's, Anthropic's and Bedrock's
own. Left out on purpose, because a text-only wire has no place for them and no other model can use
them: reasoning of earlier turns, and the citations, annotations and cache marks that a text block
may carry beside its text. Everything else that is not text is an error or, in a history, a line in
its place (`foreign`).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from langchain_ai365vip._prompt.foreign import Block, is_mark, line_for, unwrapped
from langchain_ai365vip.errors import AI365VIPUnsupportedContentError

# Told of each kind of block for which a line stands.
Note = Callable[[str], None]
_Reader = Callable[[Block, Note | None], Any]

CALL_TYPES: Final = frozenset(
    ("tool_call", "tool_use", "function_call", "invalid_tool_call", "tool_call_chunk")
)
RESULT_TYPES: Final = frozenset(("tool_result", "function_call_output"))


def read_content(
    content: str | Sequence[str | Block],
    where: str,
    *,
    accept: frozenset[str] = frozenset(),
    note: Note | None = None,
) -> Iterator[str | Block]:
    """Yield a content's texts in order and, unwrapped, the blocks of an accepted type.

    Args:
        content: A message's `content`.
        where: What to call it in an error, such as `messages[2].content`.
        accept: `CALL_TYPES`, `RESULT_TYPES` or nothing.
        note: Told the type of each other block, such as an image, for which a line then
            stands; without it such a block is an error.

    Raises:
        AI365VIPUnsupportedContentError: For such a block, without `note`.
    """
    if isinstance(content, str):
        yield content
        return
    for index, part in enumerate(content):
        if isinstance(part, str):
            yield part
            continue
        block = unwrapped(part)
        if block.get("type") in accept:
            yield block
        elif not is_mark(block):
            yield _block_text(block, f"{where}[{index}]", note)


def read_texts(
    content: str | Sequence[str | Block], where: str, note: Note | None = None
) -> list[str]:
    """Return a content's texts; `note` and errors as in `read_content`."""
    parts = read_content(content, where, note=note)
    return [part for part in parts if isinstance(part, str)]


def spoken(audio: Any, note: Note) -> str:
    """Return the words of an answer that was spoken, or a line in its place.

    Args:
        audio: What an OpenAI model put into `additional_kwargs`.
        note: As in `read_content`.
    """
    text = audio.get("transcript") if isinstance(audio, Mapping) else None
    if isinstance(text, str):
        return text
    note("audio")
    return line_for({"type": "audio", "audio": audio})


def _block_text(block: Block, where: str, note: Note | None) -> str:
    reader = _READERS.get(block.get("type"))
    text = reader(block, note) if reader else None
    if isinstance(text, str):
        return text
    if note is None:
        raise _unsupported(block, where)
    note(str(block.get("type")))
    return line_for(block)


def _unsupported(block: Block, where: str) -> AI365VIPUnsupportedContentError:
    """Make the error for a block that text cannot carry at this place."""
    kind = block.get("type")
    what = f'a block of type "{kind}"' if kind else f"a block without a type (keys: {list(block)})"
    return AI365VIPUnsupportedContentError(
        f"{where} is {what}. This endpoint's wire carries text only: no images, audio, video, "
        "files or server-side tool results. Put what the model should know into a text block, "
        "or send this conversation to a model that accepts such input."
    )


def _field(name: str) -> _Reader:
    return lambda block, note: block.get(name)


def _untyped(block: Block, note: Note | None) -> str | None:
    """Read Bedrock's `{"text": …}`; anything beside the text would be lost, so refuse it."""
    return block["text"] if block.keys() == {"text"} else None


def _plain_text(block: Block, note: Note | None) -> str | None:
    """Read a v1 "text-plain" block: the title and context, where given, and the text."""
    text = block.get("text")
    if text is None:
        text = _decoded(block.get("base64"))
    return None if text is None else _titled(block, text)


def _document(block: Block, note: Note | None) -> str | None:
    """Read an Anthropic document, if its source is text."""
    source = block.get("source")
    if not isinstance(source, Mapping):
        return None
    if source.get("type") == "text" and isinstance(source.get("data"), str):
        return _titled(block, source["data"])
    if source.get("type") == "content" and isinstance(source.get("content"), (str, list)):
        return _titled(
            block, "\n".join(read_texts(source["content"], "a document's content", note))
        )
    return None


def _search_result(block: Block, note: Note | None) -> str | None:
    """Read what a tool found, as Anthropic's models take it: title, source, and the texts."""
    content = block.get("content")
    if not isinstance(content, list):
        return None
    found = "\n".join(read_texts(content, "a search result's content", note))
    return _titled({"title": block.get("title"), "context": block.get("source")}, found)


def _file(block: Block, note: Note | None) -> str | None:
    """Read a v0 file block, if its source is text."""
    return block.get("text") if block.get("source_type") == "text" else None


def _json(block: Block, note: Note | None) -> str | None:
    return json.dumps(block["json"], ensure_ascii=False, default=str) if "json" in block else None


def _titled(block: Block, text: str) -> str:
    heading = (block.get("title"), block.get("context"), text)
    return "\n".join(part for part in heading if isinstance(part, str) and part)


def _decoded(data: Any) -> str | None:
    if not isinstance(data, str):
        return None
    try:
        return base64.b64decode(data, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None


_READERS: Final[Mapping[Any, _Reader]] = {
    "text": _field("text"),
    "input_text": _field("text"),
    "output_text": _field("text"),
    "refusal": _field("refusal"),
    "text-plain": _plain_text,
    "document": _document,
    "search_result": _search_result,
    "file": _file,
    "json": _json,
    None: _untyped,
}
