"""Every exception class of the libraries below us, driven through a call: none escapes."""

from __future__ import annotations

import asyncio
import builtins
import errno
import inspect
import socket
import ssl
import types
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import aiohttp.compression_utils
import aiohttp.connector
import aiohttp.http_exceptions
import aiohttp.payload
import aiohttp_socks
import pytest
import python_socks
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from langchain_ai365vip import ChatAI365VIP, errors
from tests.faults.calling import PROMPT
from tests.faults.cases import BEGUN, stall_mid_stream
from tests.faults.server import FaultServer

SECRET = "sk-in-the-headers-of-the-request"

CONNECTION = errors.AI365VIPConnectionError
TIMEOUT = errors.AI365VIPTimeoutError
PROXY = errors.AI365VIPProxyError
TLS = errors.AI365VIPTLSError
RESPONSE = errors.AI365VIPResponseError
INVALID = errors.AI365VIPInvalidRequestError
# Not what a network does: a defect, or another part of those libraries. It is not disguised.
UNCHANGED = None

OUTCOMES: dict[str, type[errors.AI365VIPError] | None] = {
    "aiohttp.ClientConnectionError": CONNECTION,
    "aiohttp.ClientConnectionResetError": CONNECTION,
    "aiohttp.ClientConnectorCertificateError": TLS,
    "aiohttp.ClientConnectorDNSError": CONNECTION,
    "aiohttp.ClientConnectorError": CONNECTION,
    "aiohttp.ClientConnectorSSLError": TLS,
    "aiohttp.ClientError": CONNECTION,
    "aiohttp.ClientHttpProxyError": PROXY,
    "aiohttp.ClientOSError": CONNECTION,
    "aiohttp.ClientPayloadError": CONNECTION,
    "aiohttp.ClientProxyConnectionError": PROXY,
    "aiohttp.ClientResponseError": RESPONSE,
    "aiohttp.ClientSSLError": TLS,
    "aiohttp.ConnectionTimeoutError": TIMEOUT,
    "aiohttp.ContentTypeError": RESPONSE,
    "aiohttp.InvalidURL": INVALID,
    "aiohttp.InvalidUrlClientError": INVALID,
    "aiohttp.InvalidUrlRedirectClientError": INVALID,
    "aiohttp.NonHttpUrlClientError": INVALID,
    "aiohttp.NonHttpUrlRedirectClientError": INVALID,
    "aiohttp.RedirectClientError": CONNECTION,
    "aiohttp.ServerConnectionError": CONNECTION,
    "aiohttp.ServerDisconnectedError": CONNECTION,
    "aiohttp.ServerFingerprintMismatch": TLS,
    "aiohttp.ServerTimeoutError": TIMEOUT,
    "aiohttp.SocketTimeoutError": TIMEOUT,
    "aiohttp.TooManyRedirects": RESPONSE,
    "aiohttp.UnixClientConnectorError": CONNECTION,
    "aiohttp.UploadAbortedError": CONNECTION,
    "aiohttp.WSServerHandshakeError": RESPONSE,
    "aiohttp.EofStream": CONNECTION,
    "aiohttp.WSMessageTypeError": UNCHANGED,
    "aiohttp.WebSocketError": UNCHANGED,
    "aiohttp.BadContentDispositionHeader": UNCHANGED,
    "aiohttp.BadContentDispositionParam": UNCHANGED,
    "aiohttp.LookupError": UNCHANGED,
    "aiohttp.TooManyMembersError": UNCHANGED,
    "aiohttp.HttpProcessingError": RESPONSE,
    "aiohttp.BadHttpMessage": RESPONSE,
    "aiohttp.HttpBadRequest": RESPONSE,
    "aiohttp.PayloadEncodingError": RESPONSE,
    "aiohttp.ContentEncodingError": RESPONSE,
    "aiohttp.TransferEncodingError": RESPONSE,
    "aiohttp.ContentLengthError": RESPONSE,
    "aiohttp.DecompressSizeError": RESPONSE,
    "aiohttp.LineTooLong": RESPONSE,
    "aiohttp.InvalidHeader": RESPONSE,
    "aiohttp.BadStatusLine": RESPONSE,
    "aiohttp.BadHttpMethod": RESPONSE,
    "aiohttp.InvalidURLError": RESPONSE,
    "asyncio.TimeoutError": TIMEOUT,
    "asyncio.IncompleteReadError": PROXY,
    "asyncio.LimitOverrunError": CONNECTION,
    "asyncio.InvalidStateError": UNCHANGED,
    "asyncio.BrokenBarrierError": UNCHANGED,
    "asyncio.QueueEmpty": UNCHANGED,
    "asyncio.QueueFull": UNCHANGED,
    "asyncio.QueueShutDown": UNCHANGED,
    "asyncio.SendfileNotAvailableError": UNCHANGED,
    "ssl.SSLError": TLS,
    "ssl.SSLZeroReturnError": TLS,
    "ssl.SSLWantReadError": TLS,
    "ssl.SSLWantWriteError": TLS,
    "ssl.SSLSyscallError": TLS,
    "ssl.SSLEOFError": TLS,
    "ssl.SSLCertVerificationError": TLS,
    "socket.herror": CONNECTION,
    "socket.gaierror": CONNECTION,
    "socket._GiveupOnSendfile": UNCHANGED,
    "aiohttp_socks.ProxyError": PROXY,
    "aiohttp_socks.ProxyConnectionError": PROXY,
    "aiohttp_socks.ProxyTimeoutError": TIMEOUT,
    "python_socks.ProxyError": PROXY,
    "python_socks.ProxyConnectionError": PROXY,
    "python_socks.ProxyTimeoutError": TIMEOUT,
    "builtins.OSError": CONNECTION,
    "builtins.TimeoutError": TIMEOUT,
    "builtins.ConnectionError": CONNECTION,
    "builtins.ConnectionRefusedError": CONNECTION,
    "builtins.ConnectionResetError": CONNECTION,
    "builtins.ConnectionAbortedError": CONNECTION,
    "builtins.BrokenPipeError": CONNECTION,
    "builtins.BlockingIOError": CONNECTION,
    "builtins.ChildProcessError": CONNECTION,
    "builtins.FileExistsError": CONNECTION,
    "builtins.FileNotFoundError": CONNECTION,
    "builtins.InterruptedError": CONNECTION,
    "builtins.IsADirectoryError": CONNECTION,
    "builtins.NotADirectoryError": CONNECTION,
    "builtins.PermissionError": CONNECTION,
    "builtins.ProcessLookupError": CONNECTION,
    "builtins.EOFError": CONNECTION,
}

MODULES: list[types.ModuleType] = [
    aiohttp,
    aiohttp.client_exceptions,
    aiohttp.http_exceptions,
    aiohttp.http,
    aiohttp.streams,
    aiohttp.payload,
    aiohttp.connector,
    aiohttp.compression_utils,
    asyncio,
    asyncio.exceptions,
    ssl,
    socket,
    aiohttp_socks,
    python_socks,
]


def _found() -> Iterator[type[Exception]]:
    for module in MODULES:
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, Exception):
                yield value
    for value in vars(builtins).values():
        if inspect.isclass(value) and issubclass(value, (OSError, EOFError)):
            yield value


def _name(cls: type[Exception]) -> str:
    return f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"


CLASSES = sorted({_name(cls): cls for cls in _found()}.items())


def test_every_exception_class_of_the_libraries_has_a_place_in_the_table() -> None:
    assert {name for name, _ in CLASSES} <= OUTCOMES.keys()


_KEY = ConnectionKey("127.0.0.1", 1, False, True, None, None, None)
_REQUEST = aiohttp.RequestInfo(
    URL("http://user:hunter2@127.0.0.1/api/chat"),
    "POST",
    CIMultiDictProxy(CIMultiDict({"Authorization": SECRET})),
    URL("http://user:hunter2@127.0.0.1/api/chat"),
)


_REFUSED = OSError(errno.ECONNREFUSED, "refused")
_BUILDERS: list[tuple[type[Exception], Callable[[Any], Exception]]] = [
    (aiohttp.ClientResponseError, lambda cls: cls(_REQUEST, (), status=407, message="no")),
    (aiohttp.client_exceptions.UnixClientConnectorError, lambda cls: cls("/path", _KEY, _REFUSED)),
    (aiohttp.ClientConnectorCertificateError, lambda cls: cls(_KEY, _REFUSED)),
    (aiohttp.ClientConnectorError, lambda cls: cls(_KEY, _REFUSED)),
    (aiohttp.ServerFingerprintMismatch, lambda cls: cls(b"expected", b"got", "127.0.0.1", 1)),
    (aiohttp.http.WebSocketError, lambda cls: cls(1011, "no")),
    (asyncio.IncompleteReadError, lambda cls: cls(b"begun", 10)),
    (asyncio.LimitOverrunError, lambda cls: cls("no", 1)),
    (aiohttp.http_exceptions.BadHttpMessage, lambda cls: cls("no")),
    (aiohttp.http_exceptions.HttpProcessingError, lambda cls: cls(message="no")),
    (OSError, lambda cls: cls(errno.ECONNRESET, "no")),
    (Exception, lambda cls: cls("no")),
]


def _made(cls: type[Exception]) -> Exception:
    """Build an instance as the library does, with what could leak in it."""
    return next(build(cls) for base, build in _BUILDERS if issubclass(cls, base))


@pytest.mark.parametrize("cls", [cls for _, cls in CLASSES], ids=[name for name, _ in CLASSES])
def test_a_failing_connector_raises_our_class(
    cls: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(*args: Any, **kwargs: Any) -> Any:
        raise _made(cls)

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect)
    model = ChatAI365VIP(base_url="http://127.0.0.1:9", api_key=SECRET, max_retries=0)
    _check(cls, _raised(model), partial_text="")


@pytest.mark.parametrize("cls", [cls for _, cls in CLASSES], ids=[name for name, _ in CLASSES])
def test_a_failing_body_raises_our_class_with_the_text_so_far(
    cls: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = aiohttp.StreamReader.readany
    read = b""

    async def readany(self: aiohttp.StreamReader) -> bytes:
        nonlocal read
        if read == BEGUN.encode():
            raise _made(cls)
        data = await real(self)
        read += data
        return data

    monkeypatch.setattr(aiohttp.StreamReader, "readany", readany)
    with FaultServer(stall_mid_stream) as server:
        model = ChatAI365VIP(base_url=server.url, api_key=SECRET, max_retries=0)
        _check(cls, _raised(model), partial_text=BEGUN)


def _raised(model: ChatAI365VIP) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is the question
        model.invoke(PROMPT)
    return caught.value


def _check(cls: type[Exception], error: Exception, *, partial_text: str) -> None:
    expected = OUTCOMES[_name(cls)]
    if expected is UNCHANGED:
        assert type(error) is cls
        return
    assert type(error) is expected, repr(error)
    assert isinstance(error, errors.AI365VIPError)
    assert (error.partial_text or "") == partial_text
    assert ("They are in the error's partial_text" in str(error)) is bool(partial_text)
    assert error.__cause__ is None
    assert error.__context__ is None
    text = f"{error} {vars(error)}"
    assert SECRET not in text
    assert "hunter2" not in text


async def test_a_cancellation_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*args: Any, **kwargs: Any) -> Any:
        raise asyncio.CancelledError

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect)
    with pytest.raises(asyncio.CancelledError):
        async for _ in ChatAI365VIP(base_url="http://127.0.0.1:9").astream(PROMPT):
            pass
