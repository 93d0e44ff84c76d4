"""Text over HTTP: a request, retried if need be, and its reply; connections, proxies, failures."""
