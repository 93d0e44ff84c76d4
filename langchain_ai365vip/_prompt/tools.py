"""Tools and `tool_choice`, in every form that LangChain accepts, as one form of each. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from langchain_core.tools import BaseTool
from langchain_core.tools import Tool as SingleTextTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_ai365vip._prompt.schemas import tool_function

Tool = Mapping[str, Any] | type | Callable[..., Any] | BaseTool


class ToolChoice(NamedTuple):
    """Whether the model may, must or must not call a tool; `name` for a certain one."""

    mode: Literal["auto", "none", "any", "tool"]
    name: str | None = None

    @property
    def forced(self) -> bool:
        """Whether a reply without a call is not acceptable."""
        return self.mode in ("any", "tool")


AUTO: Final = ToolChoice("auto")
_MODES: Final[Mapping[Any, ToolChoice]] = {
    None: AUTO,
    False: AUTO,  # as in ChatOpenAI: no constraint, not "no tools"
    True: ToolChoice("any"),
    "auto": AUTO,
    "none": ToolChoice("none"),
    "any": ToolChoice("any"),
    "required": ToolChoice("any"),
}


def to_openai_tools(tools: Sequence[Tool], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Turn tools of every form that LangChain accepts into OpenAI function tools.

    Args:
        tools: BaseTools, functions, pydantic classes, TypedDicts, JSON schemas, OpenAI,
            Anthropic or Bedrock dicts; not changed.
        strict: As in `convert_to_openai_tool`.

    Raises:
        TypeError: It is one tool, or none, and no list.
        ValueError: For a provider's built-in tool, or for something that is no tool.
    """
    if not isinstance(tools, Iterable) or isinstance(tools, BaseTool | Mapping | str):
        raise TypeError(
            f"tools is a {type(tools).__name__}: pass a list of tools, such as [search]"
        )
    return [_to_openai_tool(tool, f"tools[{i}]", strict) for i, tool in enumerate(tools)]


def _to_openai_tool(tool: Tool, where: str, strict: bool | None) -> dict[str, Any]:
    if isinstance(tool, dict):
        tool = _function_dict(tool, where)
    try:
        if isinstance(tool, SingleTextTool):
            converted = convert_to_openai_tool(tool, strict=strict)
        else:
            converted = {"type": "function", "function": tool_function(tool, strict=strict)}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{where} cannot be described to the model: {as_sentence(error)} Pass a function "
            "with type hints, a BaseTool, a pydantic class or a tool's dict."
        ) from error
    if converted.get("type") != "function":
        raise _built_in(where, converted)
    return converted


def as_sentence(error: Exception) -> str:
    """Put another library's message, which may have several lines, into ours."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _function_dict(tool: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the dict to convert, without OpenAI's wrapping; refuse built-in tools."""
    kind = tool.get("type")
    if kind == "function":
        # Flat in OpenAI's Responses form, nested in its Chat Completions form.
        function = tool.get("function", tool)
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ValueError(f'{where} has no function name. Give it one: {{"name": …}}.')
        return {key: value for key, value in function.items() if key != "type"}
    if kind in (None, "object") or "input_schema" in tool:
        return tool
    raise _built_in(where, tool)


def _built_in(where: str, tool: Mapping[str, Any]) -> ValueError:
    return ValueError(
        f'{where} is a built-in tool of another provider (type "{tool.get("type")}"): it runs on '
        "that provider's servers, not here. Bind a function or a BaseTool that "
        "does the work here."
    )


def normalise_tool_choice(tool_choice: Any, tool_names: Collection[str]) -> ToolChoice:
    """Read a `tool_choice` in any of LangChain's, OpenAI's or Anthropic's forms.

    Args:
        tool_choice: `None`, `"auto"` or `False` (the model decides), `"none"`, `"any"`,
            `"required"` or `True` (some call), a tool's name, or a dict such as
            `{"type": "function", "function": {"name": …}}`, `{"type": "tool", "name": …}`
            or `{"type": "any"}`.
        tool_names: The names of the bound tools.

    Raises:
        ValueError: For an unknown form or name, or a forced call with no tools bound.
    """
    choice = _read_choice(tool_choice, tool_names)
    if choice.forced and not tool_names:
        raise ValueError(
            f"tool_choice={tool_choice!r} forces a call, but no tools are bound. Bind some with "
            "bind_tools, or leave tool_choice out."
        )
    if choice.name is not None and choice.name not in tool_names:
        raise ValueError(
            f"tool_choice={tool_choice!r} names a tool that is not bound. "
            f"Bound are: {', '.join(tool_names)}."
        )
    return choice


def _read_choice(tool_choice: Any, tool_names: Collection[str]) -> ToolChoice:
    if isinstance(tool_choice, Mapping):
        return _read_choice_dict(tool_choice)
    if isinstance(tool_choice, str):
        named = ToolChoice("tool", tool_choice)
        return named if tool_choice in tool_names else _MODES.get(tool_choice, named)
    if tool_choice is None or isinstance(tool_choice, bool):
        return _MODES[tool_choice]
    raise _unknown_choice(tool_choice)


def _read_choice_dict(tool_choice: Mapping[str, Any]) -> ToolChoice:
    kind = tool_choice.get("type")
    if tool_choice.keys() == {"type"} and isinstance(kind, str) and kind in _MODES:
        return _MODES[kind]
    function = tool_choice.get("function", tool_choice)
    name = function.get("name") if isinstance(function, Mapping) else None
    known = tool_choice.keys() <= {"type", "function", "name"}
    if kind not in ("function", "tool") or not isinstance(name, str) or not known:
        raise _unknown_choice(tool_choice)
    return ToolChoice("tool", name)


def _unknown_choice(tool_choice: Any) -> ValueError:
    return ValueError(
        f"tool_choice={tool_choice!r} is not understood. Use None, 'auto', 'none', 'any', a tool's "
        "name or {'type': 'function', 'function': {'name': …}}; for one call at most, use "
        "parallel_tool_calls=False."
    )
