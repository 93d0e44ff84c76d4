"""One answer: a reply, one more if need be, and its events as LangChain's chunks."""
