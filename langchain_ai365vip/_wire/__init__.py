"""The protocol of `/api/chat` and `/api/models`, for its client and its server alike. No I/O.

`facts` are the protocol's own; `payload` is a request as a client writes it, `request` as a server
reads it; `cutter` and `tokens` do on this side what the protocol has no field for.
"""
