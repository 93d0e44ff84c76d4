"""`set_llm_cache` with a real Redis: Debian's `redis-server`, started by the test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.globals import set_llm_cache
from langchain_core.messages import HumanMessage

from langchain_ai365vip import ChatAI365VIP
from tests.agent_kit import Request, asked, gist, streamed, weather
from tests.endpoint import Endpoint

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:`langchain-community` is being sunset:DeprecationWarning"),
    # langchain-community's: it reads what it wrote without saying which classes it allows.
    pytest.mark.filterwarnings("ignore:.*`allowed_objects` will change:PendingDeprecationWarning"),
]


HI = Request([("user", "Hi")])
HELLO = [("text", "Hello there!"), ("end", "stop")]


@pytest.fixture(scope="module")
def redis_socket() -> Iterator[str]:
    server = shutil.which("redis-server")
    assert server is not None, "redis-server is missing: apt-get install redis-server"
    # A socket's path, which may not be long, is nobody else's; a free port may become another's.
    with tempfile.TemporaryDirectory() as home:
        address = f"{home}/redis"
        where = ["--port", "0", "--unixsocket", address, "--dir", home]
        settings = ["--save", "", "--appendonly", "no"]
        process = subprocess.Popen([server, *where, *settings], stdout=subprocess.DEVNULL)
        try:
            _wait_for(address)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 60
    while not _answers(address):
        assert time.monotonic() < deadline, "redis-server did not come up"
        time.sleep(0.05)


def _answers(address: str) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(address)
            connection.sendall(b"PING\r\n")
            return connection.recv(16) == b"+PONG\r\n"
    except OSError:
        return False


@pytest.fixture
def redis(redis_socket: str) -> Iterator[Any]:
    import redis as library

    client = library.Redis(unix_socket_path=redis_socket)
    client.flushall()
    yield client
    set_llm_cache(None)
    client.close()


def test_a_redis_cache_answers_the_second_time(endpoint: Endpoint, redis: Any) -> None:
    from langchain_community.cache import RedisCache

    set_llm_cache(RedisCache(redis_=redis, ttl=60))
    model = ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, api_key="sentinel")
    again = ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, api_key="other", timeout=5)
    first, second = model.invoke("Hi"), again.invoke("Hi")
    assert gist([first]) == gist([second]) == HELLO
    assert second.response_metadata == first.response_metadata
    assert asked(endpoint) == [HI]
    assert gist([model.invoke("Hi", temperature=0)]) == HELLO
    stopping = ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, stop=["!"])
    assert gist([stopping.invoke("Hi")]) == [("text", "Hello there"), ("end", "stop")]
    assert asked(endpoint) == [HI] * 3
    assert gist(model.stream("Hi")) == HELLO  # which no cache answers
    assert asked(endpoint) == [HI] * 4
    stored = b"".join(key + str(redis.hgetall(key)).encode() for key in redis.scan_iter())
    assert redis.dbsize() == 3
    assert b"sentinel" not in stored


def test_a_redis_cache_answers_an_agent_that_is_streamed(endpoint: Endpoint, redis: Any) -> None:
    from langchain_community.cache import RedisCache

    set_llm_cache(RedisCache(redis_=redis, ttl=60))
    for _ in range(2):  # a model made anew has the same key
        agent = create_agent(ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url), [weather])
        said, state = streamed(agent, [HumanMessage("Hi")])
        assert said == gist(state["messages"][1:]) == HELLO
    assert asked(endpoint) == [Request([("user", "Hi")], ["weather"])]


async def test_an_async_redis_cache_answers_the_second_time(
    endpoint: Endpoint, redis: Any, redis_socket: str
) -> None:
    import redis.asyncio as library
    from langchain_community.cache import AsyncRedisCache

    async with library.Redis(unix_socket_path=redis_socket) as client:
        set_llm_cache(AsyncRedisCache(redis_=client, ttl=60))
        model = ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url)
        assert [gist([await model.ainvoke("Hi")]) for _ in range(3)] == [HELLO] * 3
        assert asked(endpoint) == [HI]
        messages = await model.abatch(["Hi", "Hi", "Ho"])
        assert [gist([message]) for message in messages] == [HELLO] * 3
        assert asked(endpoint) == [HI, Request([("user", "Ho")])]
