"""What other packages do with the model, and users rely on: LangChain, LangGraph, uvloop, Redis.

The tests assert what results and what is requested. Still, where one fails after an upgrade and
none outside this folder does, look into the other package's changes first.
"""
