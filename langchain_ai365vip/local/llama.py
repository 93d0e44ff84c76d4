"""llama.cpp in this process: loaded on demand, reached over loopback, closed without hanging.

`xllamacpp` wraps llama.cpp's own HTTP server, which speaks the OpenAI protocol, so that
`langchain-openai` is the client. Three properties of the wrapper shape this module (each was
seen, with xllamacpp 2026.10):

- Loading holds the interpreter's lock: every thread and event loop of the process stands
  still meanwhile, 0.5 s for 100 MB.
- Dropping the server while a request is in flight waits, with that lock held, for the
  client to hang up. A client in the same process never can, so `close()` cuts every
  connection first.
- The server's threads do not survive a fork, and its destructor waits for them.
"""

from __future__ import annotations

import importlib
import os
import secrets
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from langchain_ai365vip._version import installing
from langchain_ai365vip.errors import AI365VIPConnectionError, AI365VIPContextOverflowError

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI

MISSING_EXTRA: Final = (
    "A local model needs llama.cpp and an OpenAI client, which are not installed here: "
    + installing("local")
)
# How long close() waits for requests that other threads are just sending, in seconds.
_CLOSE_PATIENCE: Final = 5.0
_GGUF_MAGIC: Final = b"GGUF"
_TCP: Final = (socket.AF_INET, socket.SOCK_STREAM)


@dataclass(frozen=True)
class LlamaSettings:
    """What decides how a GGUF file is loaded; `LocalModel` documents each.

    Attributes:
        path: The GGUF file.
        name: The name under which the model is served.
        n_ctx: Context size in tokens, shared equally by the slots.
        n_parallel: Number of slots, that is of requests answered at the same time.
        threads: CPU threads; `None` leaves one core to everything else.
        n_gpu_layers: Layers put on a GPU.
        chat_template: A Jinja template instead of the file's own.
    """

    path: Path
    name: str
    n_ctx: int = 8192
    n_parallel: int = 4
    threads: int | None = None
    n_gpu_layers: int = 0
    chat_template: str | None = None


class Llama:
    """One llama.cpp server: unloaded until first used, closed once.

    Copies share it, so that copying a model never loads a second one; a pickle carries
    the settings only.
    """

    def __init__(self, settings: LlamaSettings) -> None:
        self.settings = settings
        self._changed = threading.Condition()
        self._client: ChatOpenAI | None = None
        self._server: list[Any] = []  # the only reference to the server, so that we decide
        self._address = ""
        self._pid = 0
        self._closed = False
        # Threads with a request that may not have reached the server yet.
        self._sending: dict[object, int] = {}

    def __copy__(self) -> Llama:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Llama:
        return self

    def __reduce__(self) -> tuple[type[Llama], tuple[LlamaSettings]]:
        return Llama, (self.settings,)

    def load(self) -> ChatOpenAI:
        """Load the file unless it is loaded, and return the client that talks to it.

        Raises:
            ImportError: The extra `local` is not installed.
            FileNotFoundError: There is no such file.
            ValueError: llama.cpp cannot load it.
            RuntimeError: The model was closed, or loaded before a fork.
        """
        with self._changed:
            self._check_usable()
            if self._client is None:
                self._client = self._start()
            return self._client

    def _check_usable(self) -> None:
        if self._closed:
            raise RuntimeError("This local model was closed. Make a new LocalModel.")
        if self._pid not in (0, os.getpid()):
            raise RuntimeError(
                "This local model was loaded before the process was forked, and llama.cpp's "
                "threads stayed with the parent. Make a new LocalModel in the child, or start "
                "child processes with the method 'spawn'."
            )

    def _start(self) -> ChatOpenAI:
        _check_file(self.settings.path)
        _import("langchain_openai")  # before the wait for the file, not after it
        key = secrets.token_urlsafe(32)
        server = _start_server(self.settings, key)
        self._server.append(server)
        self._address, self._pid = server.listening_address, os.getpid()
        # Runs when the last reference goes, or at the interpreter's exit.
        weakref.finalize(self, _drop, self._server, self._address, self._pid)
        _loaded.add(self)
        return _make_client(self._address, key, self.settings.name)

    @contextmanager
    def request(self) -> Iterator[tuple[ChatOpenAI, Request]]:
        """Give the client for one request, announced so that `close()` waits for it.

        The request's `answered()` is to be called once the server has begun to answer.
        """
        client = self.load()
        request = Request(self)
        with self._changed:
            self._check_usable()
            self._sending[request] = threading.get_ident()
        try:
            yield client, request
        except Exception as exc:
            if self._closed:
                raise AI365VIPConnectionError(
                    "The local model was closed while it was answering. Keep it open (inside "
                    "`with`) until its last answer is complete."
                ) from exc
            if _is_overflow(exc):
                raise AI365VIPContextOverflowError(
                    f"The conversation does not fit the model: {exc}. Each of the n_parallel "
                    "requests has its equal share of n_ctx tokens: raise n_ctx, lower n_parallel, "
                    "or send a shorter conversation."
                ) from exc
            raise
        finally:
            request.answered()

    def _sent(self, request: Request) -> None:
        with self._changed:
            self._sending.pop(request, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Cut what is in flight and free the model; harmless when done twice.

        Requests in flight fail at once. Nothing that is sent later reaches the server.
        """
        own = threading.get_ident()
        deadline = time.monotonic() + _CLOSE_PATIENCE
        with self._changed:
            self._closed = True
            # This thread's own requests cannot move while it waits here.
            while any(thread != own for thread in self._sending.values()):
                _cut_connections(self._address)
                if not self._changed.wait(0.02) and time.monotonic() > deadline:
                    break
        _drop(self._server, self._address, self._pid)


class Request:
    """One announced request of a `Llama`."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self._answered = False

    def answered(self) -> None:
        """Say that the server has begun to answer (or never will)."""
        if not self._answered:
            self._answered = True
            self._llama._sent(self)


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise ImportError(MISSING_EXTRA) from exc


def _start_server(settings: LlamaSettings, key: str) -> Any:
    xllamacpp = _import("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    # Without an alias, the file's absolute path would show as the model's name.
    params.model_alias = {settings.name}
    params.api_keys = [key]
    params.n_ctx = settings.n_ctx
    params.n_parallel = settings.n_parallel
    params.n_gpu_layers = settings.n_gpu_layers
    params.cpuparams.n_threads = settings.threads or max(1, (os.cpu_count() or 1) - 1)
    if settings.chat_template is not None:
        params.chat_template = settings.chat_template
    params.verbosity = -1
    params.warmup = False
    params.ui = False
    params.cache_ram_mib = 0
    try:
        return xllamacpp.Server(params)
    except RuntimeError as exc:
        raise ValueError(
            f"llama.cpp cannot load {settings.path}: the file is damaged, its architecture is "
            "unknown to the installed xllamacpp, or memory is short. Try another file, a newer "
            "xllamacpp, or a smaller n_ctx."
        ) from exc


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
    except OSError as exc:
        why = f"{exc.strerror}; gguf_path must be the path of a GGUF file that can be read"
        raise type(exc)(exc.errno, why, str(path)) from exc
    if magic != _GGUF_MAGIC:
        raise ValueError(
            f"{path} is not a GGUF file: it does not begin with 'GGUF'. Pass a model "
            "in llama.cpp's format."
        )


def _make_client(address: str, key: str, name: str) -> ChatOpenAI:
    httpx = _import("httpx")
    # No connection outlives its request: one of a finished event loop would be reused in
    # the next. No environment: a proxy set there must not get loopback traffic.
    options: dict[str, Any] = {
        "trust_env": False,
        "limits": httpx.Limits(max_keepalive_connections=0),
        "timeout": httpx.Timeout(None),
        # Never used on plain HTTP; the default takes 50 ms to read the system's certificates.
        "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    }
    client: ChatOpenAI = _import("langchain_openai").ChatOpenAI(
        base_url=f"{address}/v1",
        api_key=SecretStr(key),
        model=name,
        stream_usage=True,
        # A request that close() cut must not be sent again.
        max_retries=0,
        # A long prompt on a slow processor takes minutes until its first token.
        stream_chunk_timeout=None,
        openai_proxy=None,
        # Not wanted on loopback, and announced by a warning wherever a proxy is set.
        http_socket_options=(),
        http_client=httpx.Client(**options),
        http_async_client=httpx.AsyncClient(**options),
    )
    return client


def _is_overflow(exc: Exception) -> bool:
    """Say whether llama.cpp refused a request as too long (`openai.BadRequestError.body`)."""
    body = getattr(exc, "body", None)
    return isinstance(body, dict) and body.get("type") == "exceed_context_size_error"


def _drop(server: list[Any], address: str, pid: int) -> None:
    """Free the server in `server`, in the process that started it."""
    if server and pid == os.getpid():
        _cut_connections(address)
        server.clear()


def _cut_connections(address: str) -> None:
    """Shut down every connection of this process to or from the server at `address`.

    Both ends lie in this process, so this works whatever client holds them, and whether
    or not its thread or event loop can run.
    """
    if not address:
        return
    host, _, port = address.removeprefix("http://").rpartition(":")
    endpoint = (host, int(port))
    for name in os.listdir("/dev/fd"):
        # OSError: no longer open, no socket, or the listening one, which stays.
        with suppress(OSError), _duplicate(int(name)) as duplicate:
            if endpoint in (duplicate.getpeername(), duplicate.getsockname()):
                duplicate.shutdown(socket.SHUT_RDWR)


def _duplicate(fd: int) -> socket.socket:
    # Not socket.fromfd(): what it duplicated stays open where that is no socket.
    copy = os.dup(fd)
    try:
        return socket.socket(*_TCP, fileno=copy)
    except OSError:
        os.close(copy)
        raise


_loaded: weakref.WeakSet[Llama] = weakref.WeakSet()
_inherited: list[Any] = []


def _keep_servers_after_fork() -> None:
    """Keep a forked child from dropping a server: it would wait for absent threads."""
    for llama in _loaded:
        _inherited.extend(llama._server)


os.register_at_fork(after_in_child=_keep_servers_after_fork)
