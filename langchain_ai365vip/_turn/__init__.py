"""One answer: a reply, one more if need be, and its events as LangChain's chunks.

`tooling` reads what was bound to a call; `request` writes from it what is asked, and the `rules`
for the reply. `stream` sends it and feeds what comes to `turn`, which decides without I/O what is
handed out, and whether it is asked for once more: `reader` reads one reply for it, and
`output_schema` judges objects. `chunks` writes the events as LangChain's chunks.
`structured_output` is `with_structured_output`.
"""
