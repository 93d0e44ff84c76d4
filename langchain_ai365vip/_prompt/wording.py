r"""How tools, calls, results and schemas are written into text. Pure functions.

The form is the Hermes/Qwen convention, which many open models were trained on and
others follow when told: calls as JSON inside `<tool_call>`, results inside
`<tool_response>`. Whatever a page, a user or a tool puts into that JSON cannot end its
tag or start another: `<` before one of our tags, or before a model's control token
(`<|`), is written as `\u003c`, which JSON reads back as `<`; `[` before Mistral's as `\u005b`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_ai365vip._prompt.tools import AUTO, ToolChoice

# The tags written here, and those that the reader of replies takes for calls or reasoning.
_TAG_OPENING: Final = re.compile(
    r"<(?=[|\uff5c]|\s*(?:/\s*)?(?:tools?|function|(?:tool|function)_?calls?|tool_responses?|schema"
    r"|think)\b)|\[(?=tool_calls\])",
    re.IGNORECASE,
)


# ---------------------------------------------------------------- what the model is told

CALL_FORM: Final = (
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)
# The wording, line breaks and JSON spacing are those of Qwen 2.5's and 3's chat template (Hermes'
# differs little): models trained on it know what to do.
_TOOLS: Final = """\
# Tools

You may call {how_many} to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{functions}
</tools>

For each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:
{call_form}

The results come back within <tool_response></tool_response> XML tags; never write those \
yourself. {rule}"""


def describe_tools(
    tools: Sequence[Mapping[str, Any]], *, tool_choice: ToolChoice = AUTO, parallel: bool = True
) -> str:
    """Write the prompt's section on tools.

    Args:
        tools: OpenAI function tools; not changed. None of them: no section.
        tool_choice: A forced choice is stated, and a named tool is the only one shown;
            under "none" no tool is shown and calls are ruled out.
        parallel: Whether a reply may hold several calls.

    Raises:
        ValueError: Two tools have the same name.
    """
    if not tools:
        return ""
    _check_names([tool["function"] for tool in tools])
    if tool_choice.mode == "none":
        return "Do not call functions in this reply: answer in words."
    functions = [tool["function"] for tool in tools]
    if tool_choice.name is not None:
        functions = [function for function in functions if function["name"] == tool_choice.name]
    return _TOOLS.format(
        how_many="one or more functions" if parallel else "one function per reply",
        functions="\n".join(
            to_json({"type": "function", "function": _shown(function)}) for function in functions
        ),
        call_form=CALL_FORM,
        rule=_rule(tool_choice, parallel),
    )


def _check_names(functions: Sequence[Mapping[str, Any]]) -> None:
    # Not when tools are bound: LangChain's standard suite binds one class in two forms.
    names = Counter(function["name"] for function in functions)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(
            f"Two tools have the same name: {', '.join(twice)}. A call could not tell them apart: "
            "rename one."
        )


def _shown(function: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is meant for OpenAI's servers, such as "strict"."""
    return {key: function[key] for key in ("name", "description", "parameters") if key in function}


def _rule(choice: ToolChoice, parallel: bool) -> str:
    if not choice.forced:
        return "When no function is needed, answer in words."
    what = "a function" if choice.name is None else f"the function {to_json(choice.name)}"
    only = "function calls" if parallel else "the call"
    return f"In this reply you must call {what}: write only {only}, no other text."


def tool_reminder(*, tool_choice: ToolChoice = AUTO, parallel: bool = True) -> str:
    """Write the section's rule in brief, to repeat at the end of a long conversation."""
    if tool_choice.mode == "none":
        return "[Do not call functions in this reply: answer in words.]"
    limit = "" if parallel else ", one per reply"
    return f"[To call a function, write {CALL_FORM}{limit}. {_rule(tool_choice, parallel)}]"


def describe_schema(schema: Mapping[str, Any] | None = None, *, tools: bool = False) -> str:
    """Write the prompt's section on an answer in JSON.

    Args:
        schema: The JSON schema to fit; `None` for any JSON object.
        tools: Whether the model may call tools first.
    """
    when = "When you do not call a function, answer" if tools else "Answer"
    lines = [f"{when} with one JSON object and nothing else: no other text, no code fence."]
    if schema is not None:
        # Hermes' JSON mode has this sentence and these tags.
        lines += ["Here's the json schema you must adhere to:", "<schema>", to_json(schema)]
        lines.append("</schema>")
    return "\n".join(lines)


def schema_reminder(*, tools: bool = False) -> str:
    """Write that section's rule in brief, to repeat at the end of a long conversation."""
    return f"[{describe_schema(tools=tools)}]"


# ---------------------------------------------------------------- what was called and came back


def _safe(json_text: str) -> str:
    """Escape what could be read as a tag or a control token in a JSON text, losslessly."""
    return _TAG_OPENING.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)


def to_json(value: Any) -> str:
    """Write `value` as one line of JSON with real Unicode, safe inside our tags.

    What JSON does not know (dates, decimals) is written as its `str`.
    """
    return _safe(json.dumps(value, ensure_ascii=False, default=str))


def tool_call_text(name: str | None, args: Mapping[str, Any] | str) -> str:
    """Write a tool call as the model would have written it.

    Args:
        name: The tool's name; `None` when a broken call did not say.
        args: The arguments, or their JSON text as the model wrote it (which may be
            broken: it is shown as it was), or the `invalid_call_args` of a whole call.
    """
    if isinstance(args, str) and (invalid := read_invalid_call_args(args)) is not None:
        return invalid[0]
    arguments = (_safe(args) or '""') if isinstance(args, str) else to_json(args)
    call = arguments if name is None else f'{{"name": {to_json(name)}, "arguments": {arguments}}}'
    return f"<tool_call>\n{call}\n</tool_call>"


# Core reads the arguments of merged chunks anew and leniently: half a call would become a
# whole one, and for what is no JSON at all it tries every beginning of it, which for 40 KB takes
# 18 s (measured). A bracket that closes another kind than was opened ends its reading.
_INVALID: Final = "[invalid tool call} "


def invalid_call_args(written: str, error: str) -> str:
    """Write what an invalid tool call has for arguments: no JSON, but what is wrong and where.

    A merge of chunks keeps nothing else of such a call, so the error goes in here.
    """
    line = error.replace("\n", " ")
    return f"{_INVALID}{line}\n{written}"


def read_invalid_call_args(args: str) -> tuple[str, str] | None:
    """Return the call and its error that `invalid_call_args` wrote; `None` for other text."""
    if not args.startswith(_INVALID):
        return None
    error, _, written = args[len(_INVALID) :].partition("\n")
    return written, error


def tool_response_text(
    name: str | None, content: str, *, error: bool = False, call: int | None = None
) -> str:
    """Write a tool's result for the model to read.

    A JSON object or array stands as such, letter by letter; any other text as a JSON
    string.
    `call` is which call of the turn this answers (1, 2, …), where the name does not tell.
    """
    fields = []
    if name is not None:
        fields.append(f'"name": {to_json(name)}')
    if call is not None:
        fields.append(f'"call": {call}')
    if error:
        fields.append('"status": "error"')
    fields.append(f'"content": {_safe(content) if _is_json(content) else to_json(content)}')
    return "<tool_response>\n{" + ", ".join(fields) + "}\n</tool_response>"


def _is_json(text: str) -> bool:
    """Say whether `text` is one JSON object or array."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
