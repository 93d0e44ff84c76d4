"""LangChain chat model for endpoints that speak the AI365VIP (Chatbot UI v1) protocol."""

from importlib import import_module
from typing import TYPE_CHECKING

from langchain_ai365vip._version import __version__

if TYPE_CHECKING:
    from langchain_ai365vip._transport.client import AI365VIP, AvailableModel
    from langchain_ai365vip._transport.timeouts import Timeout
    from langchain_ai365vip.chat_models import ChatAI365VIP
else:
    # Imported when it is asked for: `ai365vip --help` needs none of it, and it takes a second.
    _HOMES = {
        "AI365VIP": "_transport.client",
        "AvailableModel": "_transport.client",
        "ChatAI365VIP": "chat_models",
        "Timeout": "_transport.timeouts",
    }

    def __getattr__(name: str) -> object:
        if name in ("chat_models", "errors"):  # as if it had been imported with the package
            return import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


__all__ = ["AI365VIP", "AvailableModel", "ChatAI365VIP", "Timeout", "__version__"]


def __dir__() -> list[str]:
    return __all__
