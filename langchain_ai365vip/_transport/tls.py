"""TLS: by whose authority a server's certificate is verified."""

from __future__ import annotations

import asyncio
import ssl

from langchain_ai365vip.errors import AI365VIPTLSError

_contexts: dict[str, ssl.SSLContext] = {}


async def verification(
    context: ssl.SSLContext | None, ca_bundle: str | None
) -> ssl.SSLContext | bool:
    """Return what aiohttp takes as `ssl`: a context, or `True` for the system's authorities.

    Args:
        context: The caller's own context, which wins.
        ca_bundle: Path of a PEM file of authorities to trust.

    Raises:
        AI365VIPTLSError: The file cannot be read as one.
    """
    if context is not None:
        return context
    return True if ca_bundle is None else await _context_for(ca_bundle)


async def _context_for(ca_bundle: str) -> ssl.SSLContext:
    # Reading a bundle is milliseconds of disk and CPU: once per path, and off the loop.
    context = _contexts.get(ca_bundle)
    if context is None:
        try:
            context = await asyncio.to_thread(ssl.create_default_context, cafile=ca_bundle)
        except (OSError, ssl.SSLError) as exc:
            raise AI365VIPTLSError(
                f"ca_bundle={ca_bundle!r} cannot be read as a PEM file of certificates: {exc}. "
                "Pass the path of one, or leave it out to trust this system's authorities."
            ) from exc
        # Calls at once may each have read it; connections are shared by the context.
        context = _contexts.setdefault(ca_bundle, context)
    return context
