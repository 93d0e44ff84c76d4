"""What LangChain's two standard suites are told of the model."""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel

from langchain_ai365vip import ChatAI365VIP


class Capabilities:
    """Every text capability on, and no other input than text."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAI365VIP

    @property
    def has_tool_calling(self) -> bool:
        return True

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def has_structured_output(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def returns_usage_metadata(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return False

    @property
    def supports_audio_inputs(self) -> bool:
        return False

    @property
    def supports_pdf_inputs(self) -> bool:
        return False

    @property
    def supports_video_inputs(self) -> bool:
        return False
