"""LangChain -> words: messages, content, tools, schemas, corrections. Pure functions.

`messages` writes a conversation as the wire's prompt and turns, `content` and `foreign` what its
blocks say; `tools` says what a model may call and how calls and results are written, `schemas`
what an object must look like, `classes` reads the user's classes for both; `corrections` is what a
model is told when its reply will not do.
"""
