"""Text over HTTP: a request, retried if need be, and its reply; connections, proxies, failures.

`client` (`AI365VIP`) makes a request, `retries` makes it again where that may help; `attempt` is
one try of it, `reply` is what is then read, `pool` keeps the connections of each event loop.
`checks` judges what a user sets; `timeouts`, `proxy` and `tls` carry it out. `failures` says what
went wrong, `pages` what came in place of a reply, `secrets` what no error may repeat, `log` what
is told at level DEBUG.
"""
