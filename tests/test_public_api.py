"""What users may import, pinned; everything else may change."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import langchain_ai365vip

PUBLIC = {
    "langchain_ai365vip": {
        "AI365VIP",
        "AvailableModel",
        "ChatAI365VIP",
        "Timeout",
        "__version__",
    },
    "langchain_ai365vip.batch": {
        "Progress",
        "RayRows",
        "abatch_file",
        "answer_row",
        "answering",
        "batch_file",
        "messages_of",
    },
    "langchain_ai365vip.chat_models": {"ChatAI365VIP"},
    "langchain_ai365vip.cli": {"main"},
    "langchain_ai365vip.errors": {
        "AI365VIPAPIError",
        "AI365VIPAuthenticationError",
        "AI365VIPChallengeError",
        "AI365VIPConnectionError",
        "AI365VIPContentFilterError",
        "AI365VIPContextOverflowError",
        "AI365VIPError",
        "AI365VIPInvalidRequestError",
        "AI365VIPNotFoundError",
        "AI365VIPOutputError",
        "AI365VIPPermissionDeniedError",
        "AI365VIPProxyError",
        "AI365VIPQuotaError",
        "AI365VIPRateLimitError",
        "AI365VIPResponseError",
        "AI365VIPTLSError",
        "AI365VIPTimeoutError",
        "AI365VIPUnsupportedContentError",
    },
    "langchain_ai365vip.local": {
        "DEMO_EXAMPLES",
        "DEMO_SYSTEM_PROMPT",
        "LocalModel",
        "demo_weights",
        "with_examples",
    },
    "langchain_ai365vip.server": {"LocalServer", "create_app"},
}


def _offered(module: ModuleType) -> set[str]:
    """Return `__all__`, or else the public classes and functions defined in the module."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_module_offers_exactly_the_pinned_names(name: str) -> None:
    assert _offered(importlib.import_module(name)) == PUBLIC[name]


def test_the_pinned_modules_are_all_the_public_ones() -> None:
    names = {
        f"langchain_ai365vip.{module.name}"
        for module in pkgutil.iter_modules(langchain_ai365vip.__path__)
        if not module.name.startswith("_")
    }

    assert names | {"langchain_ai365vip"} == PUBLIC.keys()


def test_the_package_exposes_nothing_besides_its_list_and_its_modules() -> None:
    assert sorted(dir(langchain_ai365vip)) == sorted(langchain_ai365vip.__all__)
    everything: dict[str, object] = {}
    exec("from langchain_ai365vip import *", everything)
    assert everything.keys() - {"__builtins__"} == set(langchain_ai365vip.__all__)
    with pytest.raises(AttributeError, match="no attribute 'ChatAI366VIP'"):
        _ = langchain_ai365vip.ChatAI366VIP  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_distribution() -> None:
    assert langchain_ai365vip.__version__ == importlib.metadata.version("langchain-ai365vip")


def test_the_errors_need_no_import_of_their_own() -> None:
    script = "import langchain_ai365vip as package; print(package.errors.AI365VIPError.__name__)"
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "AI365VIPError\n"
