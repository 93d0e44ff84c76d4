"""What was bound to a call: tools, how they are chosen, the object that is asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_ai365vip._prompt.tools import AUTO, ToolChoice, normalise_tool_choice
from langchain_ai365vip._prompt.wording import (
    describe_schema,
    describe_tools,
    schema_reminder,
    tool_reminder,
)
from langchain_ai365vip._turn.output_schema import Schema
from langchain_ai365vip._turn.rules import Rules
from langchain_ai365vip._wire.facts import WireMessage


@dataclass(frozen=True)
class Tooling:
    """The settings that `bind_tools` and `with_structured_output` bind.

    Attributes:
        tools: OpenAI-style tools.
        choice: Whether a call may, must or must not come, and of which tool.
        classes: The names of the tools that LangChain checks by a class or a function.
        parallel: Whether more than one may come.
        schema: The object that the reply, or the forced call, must be.
        as_text: Whether that object is the reply's text (`response_format`).
        partial: Whether its text is passed on as it grows.
        insistent: Whether a forced call that does not come is an error.
    """

    tools: Sequence[Mapping[str, Any]] = ()
    choice: ToolChoice = AUTO
    classes: Collection[str] = ()
    parallel: bool = True
    schema: Schema | None = None
    as_text: bool = False
    partial: bool = False
    insistent: bool = True

    @classmethod
    def of(cls, kwargs: Mapping[str, Any]) -> Tooling:
        """Read a call's keyword arguments."""
        tools = kwargs.get("tools") or ()
        names = [_name(tool, f"tools[{i}]") for i, tool in enumerate(tools)]
        response_format = kwargs.get("response_format")
        if response_format == {"type": "text"}:  # OpenAI's default
            response_format = None
        schema = kwargs.get("output_schema")
        if schema is None and response_format is not None:
            schema = Schema.of_response_format(response_format)
        return cls(
            tools=tools,
            choice=normalise_tool_choice(kwargs.get("tool_choice"), names),
            classes=kwargs.get("tools_with_class") or (),
            parallel=kwargs.get("parallel_tool_calls") is not False,
            schema=schema,
            as_text=response_format is not None,
            partial=bool(kwargs.get("partial_objects")),
            insistent=not kwargs.get("include_raw"),
        )

    @property
    def has_form(self) -> bool:
        """Whether the reply must have a form: then the rule is repeated at once."""
        return self.choice.forced or self.as_text

    @property
    def shown_tools(self) -> Sequence[Mapping[str, Any]]:
        """The tools that may be called: all, the one that must be, or none."""
        if self.choice.mode == "none":
            return ()
        if self.choice.name is None:
            return self.tools
        return [tool for tool in self.tools if tool["function"]["name"] == self.choice.name]

    def argument_schemas(self) -> dict[str, Mapping[str, Any]]:
        """Return the JSON schemas of the arguments of the tools that may be called, by name."""
        return {
            tool["function"]["name"]: tool["function"].get("parameters") or {}
            for tool in self.shown_tools
        }

    def rules(
        self,
        *,
        echoed: Sequence[str],
        reasoning: bool | Literal["opened"],
        stop: Sequence[str],
        max_tokens: int | None,
    ) -> Rules:
        """Return what a reply may and must be; the arguments are the rules that are not bound."""
        return Rules(
            tools=self.argument_schemas(),
            classes=self.classes,
            forced=self.choice.forced,
            parallel=self.parallel,
            schema=self.schema if self.as_text else None,
            call_schema=None if self.as_text else self.schema,
            partial=self.partial,
            insistent=self.insistent,
            echoed=echoed,
            reasoning=reasoning,
            stop=stop,
            max_tokens=max_tokens,
        )

    def instructions(self) -> str:
        """Write what the system prompt says about all this; empty without tools and schema."""
        parts = []
        if self.tools:
            parts.append(
                describe_tools(self.tools, tool_choice=self.choice, parallel=self.parallel)
            )
        if self.as_text and self.schema is not None:
            parts.append(describe_schema(self.schema.json_schema, tools=bool(self.shown_tools)))
        return "\n\n".join(parts)

    def reminder(self) -> str:
        """Write the same in brief, for the end of a long conversation."""
        parts = []
        if self.tools:
            parts.append(tool_reminder(tool_choice=self.choice, parallel=self.parallel))
        if self.as_text:
            parts.append(schema_reminder(tools=bool(self.shown_tools)))
        return "\n".join(parts)


def _name(tool: Any, where: str) -> str:
    try:
        return str(tool["function"]["name"])
    except (TypeError, KeyError):
        raise ValueError(
            f"{where} of this call is not in OpenAI's form. Pass tools to bind_tools, which takes "
            "every form."
        ) from None


def said_by_others(turns: Sequence[WireMessage]) -> list[str]:
    """Return what users and tools said: a call that is quoted from there is not a call.

    Args:
        turns: The conversation as the model is shown it, whatever blocks it came from.
    """
    return [turn["content"] for turn in turns if turn["role"] == "user"]
