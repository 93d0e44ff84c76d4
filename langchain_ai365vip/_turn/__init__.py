"""One answer: a reply, one more if need be, and its events as LangChain's chunks.

`request` writes what is asked, with what `tooling` says was bound; `stream` sends it and drives
`turn`, which decides without I/O what of the reply is handed out, and whether it is asked for once
more; `output_schema` judges objects; `chunks` writes it all as LangChain's chunks.
`structured_output` is `with_structured_output`.
"""
