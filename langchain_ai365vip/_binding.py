"""A model with settings bound to it, which streams without a generator of its own.

Core's binding passes each chunk on through one more async generator. A stream that is dropped
is closed from the outside in, two turns of the event loop a generator; so the server would
notice later, and each chunk cost more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableBinding, RunnableConfig


# The ignore: pydantic's plugin takes the field `kwargs` for a second one.
class ModelBinding(RunnableBinding[LanguageModelInput, AIMessage]):  # type: ignore[no-redef]
    """What `bind` and `with_config` return; serialized as core's own."""

    @classmethod
    def lc_id(cls) -> list[str]:
        """Return the id of core's class, which `load` knows."""
        return RunnableBinding.lc_id()

    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessage]:
        """Return the model's own stream."""
        return self.bound.astream(input, self._merge_configs(config), **{**self.kwargs, **kwargs})

    def atransform(
        self,
        input: AsyncIterator[LanguageModelInput],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessage]:
        """Return the model's own stream."""
        return self.bound.atransform(
            input, self._merge_configs(config), **{**self.kwargs, **kwargs}
        )
