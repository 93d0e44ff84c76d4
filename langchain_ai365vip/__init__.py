"""LangChain chat model for endpoints that speak the AI365VIP (Chatbot UI v1) protocol."""

from langchain_ai365vip._client import AI365VIP, AvailableModel
from langchain_ai365vip._timeouts import Timeout
from langchain_ai365vip._version import __version__
from langchain_ai365vip.chat_models import ChatAI365VIP

__all__ = ["AI365VIP", "AvailableModel", "ChatAI365VIP", "Timeout", "__version__"]
