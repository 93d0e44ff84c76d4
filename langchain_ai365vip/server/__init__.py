"""A local endpoint that speaks the protocol: any LangChain model behind `POST /api/chat`.

`create_app` makes an aiohttp application, `LocalServer` runs it on a thread of its own:

```python
from langchain_ai365vip.server import LocalServer

with LocalServer(model) as server:
    print(server.base_url)
```

`app` and `local_server` are these two; `endpoint` has the handlers, `access` who may call,
`models` what answers, `failures` what a client is told when it does not, `reply` what goes back,
and `page` has the page at `/` and its files.
"""

from langchain_ai365vip.server.app import create_app
from langchain_ai365vip.server.local_server import LocalServer

__all__ = ["LocalServer", "create_app"]
