"""What all tests share: an environment without settings, and endpoints on loopback."""

from __future__ import annotations

import gc
import os
import resource
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.endpoint import Endpoint, wait_until

# The commands that tests start keep their bytecode, as those of an installed package do: to
# compile LangChain anew for each took a quarter of the time of all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says more about a busy machine than about the code; and a fixture
# that serves all examples of a test, here a server, is meant to.
settings.register_profile(
    "unhurried",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("unhurried")

_SETTINGS = ("AI365VIP_API_KEY", "AI365VIP_BASE_URL", "AI365VIP_PROXY")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# What changes how a command writes, at a terminal and without one.
_TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
_CONNECTIONS, _KEPT = 4_000, 20


# LangChain's standard suite would skip these: the wire carries text alone, and the last wants a
# recording of a provider's traffic.
_NOT_FOR_THIS_WIRE = {
    "test_audio_inputs",
    "test_image_inputs",
    "test_image_tool_message",
    "test_pdf_inputs",
    "test_pdf_tool_message",
    "test_stream_time",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what LangChain's suite asks only of other protocols."""
    left_out = {item for item in items if getattr(item, "originalname", "") in _NOT_FOR_THIS_WIRE}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through all modules again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the settings of the machine it runs on."""
    for name in (*_SETTINGS, *_TERMINAL, *_PROXIES, *(name.upper() for name in _PROXIES)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="session")
def interrupts() -> None:
    """A shell's background process ignores Ctrl-C, and so would all that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as nohup does with this one


@pytest.fixture(autouse=True, scope="session")
def files() -> Iterator[None]:
    """Allow more files than a shell does: a thousand connections have two ends each.

    And see that the tests leave none open, but for those that a library keeps for good.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, _CONNECTIONS)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    before = len(os.listdir("/dev/fd"))
    yield
    gc.collect()
    # The last tests' idle connections close after 4 s.
    few = wait_until(lambda: len(os.listdir("/dev/fd")) < before + _KEPT, seconds=20)
    assert few, "the tests left files open"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A scripted endpoint on a thread of its own; see `tests/endpoint.py`."""
    with Endpoint() as running:
        yield running


@pytest.fixture
async def paced(endpoint: Endpoint) -> AsyncIterator[Endpoint]:
    """The endpoint, sending piece n+1 only after `endpoint.release()`."""
    endpoint.paced = True
    yield endpoint
    endpoint.release_all()
