"""What a model can do over this wire, as LangChain's model profiles say it. Pure data."""

from __future__ import annotations

from langchain_core.language_models import ModelProfile

from langchain_ai365vip._wire.facts import MODELS, REPLY_TOKENS

_WIRE = ModelProfile(
    text_inputs=True,
    image_inputs=False,
    image_url_inputs=False,
    pdf_inputs=False,
    audio_inputs=False,
    video_inputs=False,
    image_tool_message=False,
    pdf_tool_message=False,
    text_outputs=True,
    image_outputs=False,
    audio_outputs=False,
    video_outputs=False,
    tool_calling=True,
    tool_choice=True,
    tool_call_streaming=True,
    # Not native: agents then use a tool for it, which gives the model its errors to mend.
    structured_output=False,
    temperature=True,
)


def model_profile(model: str) -> ModelProfile:
    """Return a new profile: what the wire allows and, for a known model, its limits.

    The server keeps 1000 tokens of the context window for the reply, and asks for no more.
    """
    profile = _WIRE.copy()
    info = MODELS.get(model)
    if info is not None:
        profile["max_input_tokens"] = info.context_window - REPLY_TOKENS
        profile["max_output_tokens"] = REPLY_TOKENS
    return profile
