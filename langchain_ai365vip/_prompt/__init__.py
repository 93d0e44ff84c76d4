"""LangChain -> words: messages, content, tools, schemas, corrections. Pure functions.

`messages` writes a conversation as the wire's prompt and turns, `content` and `foreign` what its
blocks say; `tools` and `schemas` say what a model may call and what an object must look like,
`corrections` what it is told when its reply will not do.
"""
