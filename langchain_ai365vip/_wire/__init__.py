"""The protocol of `/api/chat` and `/api/models`, for its client and its server alike. No I/O.

`request` reads what a client sends, as a server has to.
"""
