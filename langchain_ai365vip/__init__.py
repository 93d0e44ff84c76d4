"""LangChain chat model for endpoints that speak the AI365VIP protocol."""
