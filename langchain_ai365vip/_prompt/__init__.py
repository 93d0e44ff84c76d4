"""LangChain -> words: messages, content, tools, schemas, corrections. Pure functions."""
