"""LangChain -> words: messages, content, tools, schemas, corrections. Pure functions.

`messages` writes a conversation as the wire's prompt and turns, `content` and `foreign` what its
blocks say. `tools` reads what is bound, `schemas` the JSON schemas of tools and objects, `classes`
the user's classes for both. `wording` is how tools, calls, results and schemas stand in a text,
`corrections` what a model is told when its reply will not do.
"""
