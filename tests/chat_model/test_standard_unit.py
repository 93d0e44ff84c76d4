"""LangChain's standard unit suite, with every text capability on."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_ai365vip import ChatAI365VIP
from tests.capabilities import Capabilities


class TestChatAI365VIP(Capabilities, ChatModelUnitTests):
    @pytest.fixture(autouse=True)
    def known_to_core(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # test_serdes loads with allowed_objects="all", which means core's own list of
        # classes: those of LangChain's packages. Users name the class, as in
        # test_chat_models; here the list gets the entry that the test supposes.
        load = sys.modules["langchain_core.load.load"]
        class_id = tuple(ChatAI365VIP.lc_id())
        monkeypatch.setitem(load.ALL_SERIALIZABLE_MAPPINGS, class_id, class_id)
        monkeypatch.setattr(load, "_default_class_paths_cache", {})

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "gpt-4o", "base_url": "http://127.0.0.1:9", "api_key": "test"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {
            "AI365VIP_API_KEY": "test",
            "AI365VIP_BASE_URL": "http://127.0.0.1:9",
            "AI365VIP_PROXY": "http://user:password@127.0.0.1:8",
        }
        attributes = {
            "api_key": "test",
            "base_url": "http://127.0.0.1:9",
            "proxy": "http://user:password@127.0.0.1:8",
        }
        return environment, {}, attributes
