"""What a reply may and must be: the rules of one call."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_ai365vip._turn.output_schema import Schema


@dataclass(frozen=True, slots=True)
class Rules:
    """What a reply may and must be.

    Attributes:
        tools: The JSON schema of the arguments by name: what may be called.
        forced: Whether a call must come.
        parallel: Whether more than one may.
        reasoning: Whether `<think>` marks reasoning; `"opened"` where replies begin inside it.
        echoed: Texts of users and tools, in which a call is only a quotation.
        schema: The object that the text must be, where no tool is called.
        call_schema: The object that a call's arguments must be.
        classes: The names of the tools that LangChain checks, by a class or a function; the
            others' arguments must fit their schema here.
        partial: Pass the object's text on as it grows, and do not ask for another.
        insistent: Whether a forced call that does not come is an error.
        stop: Texts before which the reply is cut.
        max_tokens: Bound on the reply's tokens.
    """

    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    forced: bool = False
    parallel: bool = True
    reasoning: bool | Literal["opened"] = False
    echoed: Sequence[str] = ()
    schema: Schema | None = None
    call_schema: Schema | None = None
    classes: Collection[str] = ()
    partial: bool = False
    insistent: bool = True
    stop: Sequence[str] = ()
    max_tokens: int | None = None

    @property
    def passes_text_on(self) -> bool:
        """Whether a reply needs no reading at all: the common case, kept cheap."""
        return not (self.tools or self.reasoning or self.schema)
