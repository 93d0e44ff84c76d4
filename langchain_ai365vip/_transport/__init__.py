"""Text over HTTP: a request, retried if need be, and its reply; connections, proxies, failures.

`client` (`AI365VIP`) asks, once or again, by way of `attempt`; `reply` is what is then read; `pool`
keeps the connections of each event loop. `checks` judges what a user sets, `failures` says what
went wrong, `timeouts`, `proxy`, `secrets` and `log` serve them all.
"""
