"""The forms in which language models write tool calls, one row each.

We ask for the first; a model may fall back on any of them, and which model answers is not
known, so all are always on. A row holds the marks as the model writes them. They are compared
without regard to case, blanks, `_` and the width of bars, a namespace in front of a name
(`antml:`, `｜DSML｜`) or a suffix behind it (`:opensource`), see `marks`.

To add a form, add a row: `langchain_ai365vip/README.md` shows how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Shape: TypeAlias = Literal["json", "named", "fields", "python", "braces"]
"""How the arguments are written.

- json: JSON values that hold the name, too, one or several, or a list of them;
- named: a name, and a JSON object;
- fields: a name, and each argument's text between marks;
- python: calls as Python writes them, in a list or one a line;
- braces: an object of bare keys, its strings between marks of their own.
"""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a call.

    Attributes:
        models: Whose form it is.
        shape: How the arguments are written.
        open: The mark that begins a call; without it, the reply, or a fence at its end, must
            hold nothing else. A mark that is not whole, such as `<invoke`, is followed by `head`.
        head: How the name is written, behind `open`.
        args: The mark between the name and the arguments.
        fence: Whether a fence stands around the JSON.
        close: The mark that ends a call.
        section: The marks around all calls of a reply.
        key: The mark of a field, and behind it `slot`, which holds its name.
        slot: See `key`.
        value: The mark between a field's name and its text.
        end: The mark that ends a field's text.
        quote: The mark around a string.
        keys: The keys of a JSON call for the name and the arguments; none where the name is
            itself the key.
        lists: Whether all calls stand in one list.
        lines: Whether the opening mark counts only at the start of a line.
        fenced: The word behind a fence that stands for the opening mark.
    """

    models: str
    shape: Shape
    open: str = ""
    close: str = ""
    head: str = "{name}"
    args: str = ""
    fence: bool = False
    section: tuple[str, str] = ("", "")
    key: str = ""
    slot: str = ""
    value: str = ""
    end: str = ""
    quote: str = ""
    keys: tuple[str, str] | None = ("name", "arguments")
    lists: bool = False
    lines: bool = False
    fenced: str = ""


_PARAMETERS: Final = ("name", "parameters")
_CALLS: Final = ("<function_calls>", "</function_calls>")
_DEEPSEEK: Final = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")
_KIMI: Final = ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>")
_MINIMAX: Final = "]<]minimax[>["

FORMS: Final = (
    # --- JSON in marks ---
    Form("Qwen 2.5 and 3, Granite 4, Ernie 4.5, Hermes", "json", "<tool_call>", "</tool_call>"),
    Form("Qwen2.5-Coder", "json", "<tools>", "</tools>"),
    Form("Jamba, Hunyuan, MiniMax M1", "json", "<tool_calls>", "</tool_calls>", lists=True),
    Form("Granite 3", "json", "<|tool_call|>", lists=True),
    Form("Phi-4-mini", "json", "<|tool_call|>", "<|/tool_call|>", lists=True),
    Form("Phi-4-mini, functools", "json", "functools", lists=True, lines=True),
    Form("Granite 20B", "json", "<function_call>"),
    Form("OpenHermes", "json", "<function_call>", "</function_call>"),
    Form("Nemotron", "json", "<TOOLCALL>", "</TOOLCALL>", lists=True),
    Form("InternLM 2", "json", "<|action_start|><|plugin|>", "<|action_end|>", keys=_PARAMETERS),
    Form("Llama 3", "json", "<|python_tag|>", keys=_PARAMETERS),
    Form("LongCat", "json", "<longcat_tool_call>", "</longcat_tool_call>"),
    Form("GigaChat 3", "json", "<|message_sep|>\n\nfunction call<|role_sep|>\n"),
    Form("GigaChat 3, half its mark", "json", "function call<|role_sep|>\n", lines=True),
    Form("Apertus", "json", "<|tools_prefix|>", "<|tools_suffix|>", keys=None, lists=True),
    Form(
        "Command A",
        "json",
        "<|START_ACTION|>",
        "<|END_ACTION|>",
        keys=("tool_name", "parameters"),
        lists=True,
    ),
    Form(
        "Command R",
        "json",
        "Action:",
        fence=True,
        keys=("tool_name", "parameters"),
        lists=True,
        lines=True,
    ),
    Form(
        "Inkling",
        "json",
        "<|content_invoke_tool_json|>",
        "<|end_message|>",
        keys=("name", "args"),
    ),
    Form("Mistral 3 to 7", "json", "[TOOL_CALLS]", lists=True),
    Form("Llama 3, xLAM, OpenAI", "json"),
    # --- a name and a JSON object ---
    Form(
        "DeepSeek V3, R1",
        "named",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁call▁end｜>",
        head="function<｜tool▁sep｜>{name}",
        fence=True,
        section=_DEEPSEEK,
    ),
    Form(
        "DeepSeek V3.1",
        "named",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁call▁end｜>",
        args="<｜tool▁sep｜>",
        section=_DEEPSEEK,
    ),
    Form(
        "Kimi K2",
        "named",
        "<|tool_call_begin|>",
        "<|tool_call_end|>",
        head="functions.{name}:0",
        args="<|tool_call_argument_begin|>",
        section=_KIMI,
    ),
    Form(
        "Kimi K2, its section in the singular",
        "named",
        "<|tool_call_begin|>",
        "<|tool_call_end|>",
        head="functions.{name}:0",
        args="<|tool_call_argument_begin|>",
        section=("<|tool_call_section_begin|>", "<|tool_call_section_end|>"),
    ),
    Form("Mistral 11", "named", "[TOOL_CALLS]", args="[ARGS]"),
    Form("Mistral 11, with ids", "named", "[TOOL_CALLS]", head="{name}[CALL_ID]a1", args="[ARGS]"),
    Form("Mistral 11, a bare name", "named", "[TOOL_CALLS]"),
    Form("Functionary 3.1, Llama 3", "named", "<function", "</function>", head="={name}>"),
    Form("Functionary 3.2", "named", ">>>", head="{name}\n", lines=True),
    Form(
        "gpt-oss",
        "named",
        "<|channel|>commentary to=",
        "<|call|>",
        head="functions.{name} ",
        args="<|constrain|>json<|message|>",
    ),
    Form(
        "gpt-oss, the recipient first",
        "named",
        "<|start|>assistant to=",
        "<|call|>",
        head="functions.{name}",
        args="<|channel|>commentary <|constrain|>json<|message|>",
    ),
    Form(
        "gpt-oss, with its role",
        "named",
        "<|start|>assistant<|channel|>commentary to=",
        "<|call|>",
        head="functions.{name} ",
        args="json<|message|>",
    ),
    Form(
        "gpt-oss, in its thoughts",
        "named",
        "<|channel|>analysis to=",
        "<|call|>",
        head="functions.{name} ",
        args="code<|message|>",
    ),
    Form(
        "gpt-oss, without its types",
        "named",
        "<|channel|>commentary to=",
        "<|call|>",
        head="functions.{name}",
        args="<|message|>",
    ),
    Form(
        "gpt-oss, its marks lost",
        "named",
        "commentary to=",
        head="functions.{name} ",
        args="json",
        lines=True,
    ),
    Form(
        "gpt-oss, its marks lost, again",
        "named",
        "assistantcommentary to=",
        head="functions.{name} ",
        args="json",
        lines=True,
    ),
    Form("ReAct", "named", "Action:", head=" {name}\n", args="Action Input:", lines=True),
    # --- a name and text between marks ---
    Form(
        "Qwen3-Coder, Qwen 3.5, Nemotron 3, Step 3.5, MiMo",
        "fields",
        "<function",
        "</function>\n",
        head="={name}>\n",
        section=("<tool_call>\n", "</tool_call>\n"),
        key="<parameter",
        slot="={key}>\n",
        end="\n</parameter>\n",
    ),
    Form(
        "Seed-OSS",
        "fields",
        "<function",
        "</function>",
        head="={name}>",
        section=("<seed:tool_call>", "</seed:tool_call>"),
        key="<parameter",
        slot="={key}>",
        end="</parameter>",
    ),
    Form(
        "GLM 4.5 to 5, Laguna, Ling 3",
        "fields",
        "<tool_call>",
        "</tool_call>",
        key="<arg_key>",
        slot="{key}</arg_key>",
        value="<arg_value>",
        end="</arg_value>",
    ),
    Form(
        "Hunyuan 3",
        "fields",
        "<tool_call>",
        "</tool_call>",
        args="<tool_sep>",
        section=("<tool_calls>", "</tool_calls>"),
        key="<arg_key>",
        slot="{key}</arg_key>",
        value="<arg_value>",
        end="</arg_value>",
    ),
    Form(
        "Hunyuan 4",
        "fields",
        "<tool_call:opensource>",
        "</tool_call:opensource>",
        section=("<tool_calls:opensource>", "</tool_calls:opensource>"),
        key="<arg_key:opensource>",
        slot="{key}</arg_key:opensource>",
        value="<arg_value:opensource>",
        end="</arg_value:opensource>",
    ),
    Form(
        "Claude",
        "fields",
        "<invoke",
        "</invoke>",
        head=' name="{name}">',
        section=_CALLS,
        key="<parameter",
        slot=' name="{key}">',
        end="</parameter>",
    ),
    Form(
        "MiniMax M2",
        "fields",
        "<invoke",
        "</invoke>",
        head=' name="{name}">',
        section=("<minimax:tool_call>", "</minimax:tool_call>"),
        key="<parameter",
        slot=' name="{key}">',
        end="</parameter>",
    ),
    Form(
        "MiniMax M3",
        "fields",
        f"{_MINIMAX}<invoke",
        f"{_MINIMAX}</invoke>",
        head=' name="{name}">',
        section=(f"{_MINIMAX}<tool_call>", f"{_MINIMAX}</tool_call>"),
        key=f"{_MINIMAX}<",
        slot="{key}>",
        end=f"{_MINIMAX}</{{key}}>",
    ),
    Form(
        "DeepSeek V3.2",
        "fields",
        "<｜DSML｜invoke",
        "</｜DSML｜invoke>",
        head=' name="{name}">',
        section=("<｜DSML｜function_calls>", "</｜DSML｜function_calls>"),
        key="<｜DSML｜parameter",
        slot=' name="{key}" string="{text}">',
        end="</｜DSML｜parameter>",
    ),
    Form(
        "DeepSeek V4",
        "fields",
        "<｜DSML｜invoke",
        "</｜DSML｜invoke>",
        head=' name="{name}">',
        section=("<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>"),
        key="<｜DSML｜parameter",
        slot=' name="{key}" string="{text}">',
        end="</｜DSML｜parameter>",
    ),
    Form(
        "DeepSeek V4.1",
        "fields",
        "<｜DSML｜ invoke",
        "</｜DSML｜ invoke>",
        head=' name="{name}">',
        section=("<｜DSML｜ calls>", "</｜DSML｜ calls>"),
        key="<｜DSML｜ parameter",
        slot=' name="{key}" string="{text}">',
        end="</｜DSML｜ parameter>",
    ),
    Form(
        "GigaChat 3.5",
        "fields",
        "<｜GCML｜invoke",
        "</｜GCML｜invoke>",
        head=' name="{name}">',
        section=("<｜GCML｜tool_calls>", "</｜GCML｜tool_calls>"),
        key="<｜GCML｜parameter",
        slot=' name="{key}" string="{text}">',
        end="</｜GCML｜parameter>",
    ),
    Form(
        "Step 3",
        "fields",
        "<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke",
        "</steptml:invoke><｜tool_call_end｜>",
        head=' name="{name}">',
        section=("<｜tool_calls_begin｜>", "<｜tool_calls_end｜>"),
        key="<steptml:parameter",
        slot=' name="{key}">',
        end="</steptml:parameter>",
    ),
    Form(
        "Muse Glimmer",
        "fields",
        "<atem:invoke",
        "</atem:invoke>",
        head=' name="{name}">',
        section=("<atem:function_calls>", "</atem:function_calls>"),
        key="<atem:parameter",
        slot=' name="{key}">',
        end="</atem:parameter>",
    ),
    Form(
        "MiniCPM 5",
        "fields",
        "<function",
        "</function>",
        head=' name="{name}">',
        key="<param",
        slot=' name="{key}">',
        end="</param>",
    ),
    Form(
        "Kimi K3",
        "fields",
        "<|open|>call",
        "<|close|>call<|sep|>",
        head=' tool="{name}" index="1"<|sep|>',
        section=("<|open|>tools<|sep|>", "<|close|>tools<|sep|>"),
        key="<|open|>argument",
        slot=' key="{key}" type="{type}"<|sep|>',
        end="<|close|>argument<|sep|>",
    ),
    Form(
        "Solar Open 2",
        "fields",
        "<|tool_call:start|>",
        "<|tool_call:end|>",
        key="<|tool_arg:start|>",
        slot="{key}",
        value="<|tool_arg:value|>",
        end="<|tool_arg:end|>",
    ),
    Form(
        "K2 Horizon",
        "fields",
        "<ifm|tool_call>",
        "</ifm|tool_call>",
        section=("<ifm|tool_calls>", "</ifm|tool_calls>"),
        key="<ifm|arg_key>",
        slot="{key}</ifm|arg_key>",
        value="<ifm|arg_value>",
        end="</ifm|arg_value>",
    ),
    Form(
        "Cline, Roo",
        "fields",
        "<",
        "</{name}>",
        head="{name}>",
        key="<",
        slot="{key}>",
        end="</{key}>",
        lines=True,
    ),
    # --- as Python writes it ---
    Form("Llama 3.2 and 4", "python", lists=True),
    Form("Llama 4", "python", "<|python_start|>", "<|python_end|>", lists=True),
    Form("LFM 2", "python", "<|tool_call_start|>", "<|tool_call_end|>", lists=True),
    Form("OLMo 3", "python", *_CALLS),
    Form("Hermes, as Python", "python", "<tool_call>", "</tool_call>"),
    Form("Gemma 3, Gemini", "python", fenced="tool_code"),
    # --- bare keys in braces ---
    Form("Gemma 4", "braces", "<|tool_call>", "<tool_call|>", head="call:{name}", quote='<|"|>'),
    Form(
        "FunctionGemma",
        "braces",
        "<start_function_call>",
        "<end_function_call>",
        head="call:{name}",
        quote="<escape>",
    ),
    Form("MiniMax, with arrows", "json", "[TOOL_CALL]", "[/TOOL_CALL]"),
)
"""All forms that are read."""
