"""LangChain's integration suite, against a model that calls tools in each dialect in turn.

By default in one dialect: what the suite asks for is the same in all, and `test_dialects` reads
each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests

from tests.capabilities import Capabilities
from tests.dialects import DIALECTS, DialectServer

EVERY_DIALECT = [
    pytest.param(dialect, marks=[pytest.mark.thorough] if number else [])
    for number, dialect in enumerate(DIALECTS)
]
# A tool with a class gets its arguments as the model wrote them, and its class reads "3" as 3.
# These compare the arguments before that.
AS_WRITTEN = pytest.mark.xfail(
    reason="the model writes numbers as text, and the tool's class is who reads them", strict=True
)
COMPARING = ("test_tool_calling", "test_tool_calling_async")


class TestChatAI365VIP(Capabilities, ChatModelIntegrationTests):
    server: ClassVar[DialectServer]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def endpoint(cls) -> Iterator[None]:
        with DialectServer() as server:
            cls.server = server
            yield

    @pytest.fixture(autouse=True, params=EVERY_DIALECT, ids=list(DIALECTS))
    def dialect(self, request: pytest.FixtureRequest) -> None:
        self.server.dialect = request.param
        if request.param == "numbers as text" and request.node.originalname in COMPARING:
            request.applymarker(AS_WRITTEN)

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "base_url": self.server.url,
            "model": "gpt-4o",
            "estimate_usage": True,
            "max_retries": 0,
        }

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "another-model"
