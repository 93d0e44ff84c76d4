"""A rule-based language model behind `/api/chat` that calls tools in every dialect we read.

It shares no code with the package: it is the other end of the wire, written from
the outside. What it knows it reads out of the prompt, like a model: the tools inside
`<tools>`, a schema inside `<schema>`. A question that needs tools or an object and comes
without a word about either is answered with an error, so that no test can pass unless the
prompt was right.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from aiohttp import web

Json = Any
Call = dict[str, Any]

# --- reading the prompt -----------------------------------------------------------------


def tools_in(prompt: str) -> list[dict[str, Any]]:
    """The functions in the `<tools>` section, one JSON object a line."""
    section = re.search(r"^<tools>\n(.+?)\n</tools>$", prompt, re.DOTALL | re.MULTILINE)
    lines = section.group(1).splitlines() if section else []
    return [json.loads(line)["function"] for line in lines]


def schema_in(prompt: str) -> dict[str, Any] | None:
    section = re.search(r"^<schema>\n(.+?)\n</schema>$", prompt, re.DOTALL | re.MULTILINE)
    return json.loads(section.group(1)) if section else None


def words_of(text: str) -> set[str]:
    return {word for word in re.split(r"[^a-z0-9]+", text.lower()) if len(word) > 3}


@dataclass(frozen=True)
class Question:
    """What the model makes of a request."""

    prompt: str
    asked: str
    last: str
    before: str  # what the model itself said last

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Question:
        turns = payload["messages"]
        users = [turn["content"] for turn in turns if turn["role"] == "user"]
        own = [turn["content"] for turn in turns if turn["role"] == "assistant"]
        corrected = bool(own) and own[-1].startswith(FAILURES)
        asked = users[-2] if corrected and len(users) > 1 else users[-1]
        # A reminder of the rules may follow the user's words in brackets.
        asked = re.sub(r"\n+\[.*\]\s*$", "", asked, flags=re.DOTALL)
        return cls(payload["prompt"], asked, users[-1], own[-1] if own else "")

    @property
    def corrected(self) -> bool:
        """Whether the model failed the last time and was told so."""
        return self.before.startswith(FAILURES)

    @property
    def must_call(self) -> bool:
        return "must call" in self.prompt

    @property
    def wants_json(self) -> bool:
        return "one JSON object" in self.prompt

    @property
    def answers_tool(self) -> bool:
        return "<tool_response>" in self.last


FAILURES = ("I would rather not.", '<tool_call>\n{"name": "no_such_tool"', '{"wrong"')

# --- thinking ---------------------------------------------------------------------------


def value_for(schema: Json, name: str, asked: str, numbers: Iterator[int], root: Json) -> Json:
    """A value that fits the schema, out of what was asked."""
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return value_for(target, name, asked, numbers, root)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return value_for(schema["anyOf"][0], name, asked, numbers, root)
    kind = schema.get("type", "string")
    if kind in ("integer", "number"):
        return next(numbers)
    if kind == "boolean":
        return True
    if kind == "array":
        return [value_for(schema.get("items", {}), name, asked, numbers, root)]
    if kind == "object":
        return object_for(schema, asked, numbers, root)
    return text_for(name, asked)


def text_for(name: str, asked: str) -> str:
    """What was quoted, else the proper nouns of the question, else something made up."""
    quoted = re.search(r"'([^']{2,})'", asked)
    nouns = re.search(r"(?<=\s)[A-Z][a-z]+(?:[ ,]+[A-Z][A-Za-z]+)*", asked)
    found = quoted.group(1) if quoted else nouns.group(0) if nouns else f'some "{name}"'
    return found if name != "punchline" else "Because it's the cat's \"meow\" {…}."


def object_for(schema: Json, asked: str, numbers: Iterator[int], root: Json) -> dict[str, Any]:
    return {
        name: value_for(part, name, asked, numbers, root)
        for name, part in schema.get("properties", {}).items()
    }


def filled(schema: Json, asked: str) -> dict[str, Any]:
    numbers = cycle([int(number) for number in re.findall(r"\d+", asked)] or [1])
    return object_for(schema, asked, numbers, schema)


def chosen(functions: Sequence[dict[str, Any]], question: Question) -> dict[str, Any] | None:
    """The function that the words of the question point to; with no choice, the first."""
    asked = words_of(question.asked)

    def score(function: dict[str, Any]) -> int:
        named = words_of(function["name"].replace("_", " "))
        return 3 * len(asked & named) + len(asked & words_of(function.get("description", "")))

    best = max(functions, key=score)
    return best if score(best) or question.must_call else None


def keys_asked_for(asked: str) -> list[str]:
    """`... a JSON with 'setup' and 'punchline' keys` names the fields without a schema."""
    return re.findall(r"'(\w+)'", asked) if " keys" in asked else ["answer"]


# --- speaking ---------------------------------------------------------------------------


def dumps(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def tag(text: str, name: str = "tool_call") -> str:
    return f"<{name}>\n{text}\n</{name}>"


def pythonic(value: Json) -> str:
    """The value as Python writes it: single quotes where they fit, True, None."""
    return repr(value)


def without_quotes(text: str) -> str:
    return re.sub(r'"(\w+)":', r"\1:", text)


@dataclass(frozen=True)
class Dialect:
    """How a model writes its calls and its objects.

    Attributes:
        call: A call as text.
        json: An object as text.
        refuses: Fails first where a call or an object must come, and obeys when corrected.
    """

    call: Callable[[Call], str]
    json: Callable[[dict[str, Any]], str] = dumps
    refuses: str = ""


def fenced(text: str) -> str:
    return f"```json\n{text}\n```"


def openai(call: Call) -> Call:
    arguments = dumps(call["arguments"])
    return {"id": "call_0", "type": "function", "function": {**call, "arguments": arguments}}


def renamed(call: Call, key: str) -> Call:
    return {"name": call["name"], key: call["arguments"]}


def as_text(value: Json) -> str:
    return value if isinstance(value, str) else dumps(value)


def qwen_coder(call: Call) -> str:
    fields = "".join(
        f"<parameter={key}>\n{as_text(value)}\n</parameter>\n"
        for key, value in call["arguments"].items()
    )
    return tag(f"<function={call['name']}>\n{fields}</function>")


def glm(call: Call) -> str:
    fields = "".join(
        f"<arg_key>{key}</arg_key>\n<arg_value>{as_text(value)}</arg_value>\n"
        for key, value in call["arguments"].items()
    )
    return f"<tool_call>{call['name']}\n{fields}</tool_call>"


def mistral(call: Call) -> str:
    return f"[TOOL_CALLS]{call['name']}[ARGS]{dumps(call['arguments'])}"


DIALECTS: dict[str, Dialect] = {
    "tag": Dialect(lambda call: tag(dumps(call))),
    "tag on one line": Dialect(lambda call: f"<tool_call>{dumps(call)}</tool_call>"),
    "indented": Dialect(
        lambda call: tag(json.dumps(call, indent=4, ensure_ascii=False)),
        lambda value: json.dumps(value, indent=4, ensure_ascii=False),
    ),
    "unclosed tag": Dialect(
        lambda call: f"<tool_call>\n{dumps(call)}", lambda value: f"```json\n{dumps(value)}"
    ),
    "prose before": Dialect(
        lambda call: f"I'll use `{call['name']}` for that.\n\n{tag(dumps(call))}",
        lambda value: f"Here is one, as you {{asked}}:\n\n{dumps(value)}",
    ),
    "prose around": Dialect(
        lambda call: f"Let me see.\n{tag(dumps(call))}\n\nOne moment.",
        lambda value: f"Sure!\n{fenced(dumps(value))}\nAnything else?",
    ),
    "fenced JSON": Dialect(lambda call: fenced(dumps(call)), lambda value: fenced(dumps(value))),
    "fence in the tag": Dialect(lambda call: tag(fenced(dumps(call)))),
    "bare JSON": Dialect(dumps),
    "bare list": Dialect(lambda call: dumps([call])),
    "function_call": Dialect(lambda call: dumps({"function_call": call})),
    "function_call tag": Dialect(lambda call: tag(dumps(call), "function_call")),
    "tool_calls": Dialect(lambda call: dumps({"tool_calls": [openai(call)]})),
    "tool_calls tag": Dialect(lambda call: tag(dumps([call]), "tool_calls")),
    "parameters": Dialect(lambda call: dumps(renamed(call, "parameters"))),
    "args": Dialect(lambda call: tag(dumps(renamed(call, "args")))),
    "input": Dialect(lambda call: dumps({"type": "tool_use", "id": "t", **renamed(call, "input")})),
    "tool_input": Dialect(
        lambda call: fenced(dumps({"tool": call["name"], "tool_input": call["arguments"]}))
    ),
    "arguments as text": Dialect(
        lambda call: tag(dumps({**call, "arguments": dumps(call["arguments"])})),
        lambda value: dumps({"name": "object", "arguments": value}),
    ),
    "Python's JSON": Dialect(lambda call: tag(pythonic(call)), pythonic),
    "trailing commas": Dialect(
        lambda call: tag(dumps(call)[:-2] + ",}}"), lambda value: dumps(value)[:-1] + ",}"
    ),
    "unquoted keys": Dialect(
        lambda call: tag(without_quotes(dumps(call))), lambda value: without_quotes(dumps(value))
    ),
    "brackets missing": Dialect(lambda call: tag(dumps(call)[:-1])),
    "a bracket too many": Dialect(
        lambda call: tag(dumps(call) + "}"), lambda value: dumps(value) + "}"
    ),
    "numbers as text": Dialect(
        lambda call: tag(
            dumps({**call, "arguments": {k: str(v) for k, v in call["arguments"].items()}})
        )
    ),
    "Qwen3-Coder": Dialect(qwen_coder),
    "GLM": Dialect(glm),
    "Mistral": Dialect(mistral),
    "thinking first": Dialect(
        lambda call: (
            f"<think>\nIs it {tag(dumps(call))}? No {{x}}.\n</think>\n\n{tag(dumps(call))}"
        ),
        lambda value: f'<think>\n{{"no": 1}}?\n</think>\n\n{dumps(value)}',
    ),
    "a made-up result": Dialect(
        lambda call: f"{tag(dumps(call))}\n<tool_response>\n42\n</tool_response>\nIt is 42."
    ),
    "unwilling": Dialect(lambda call: tag(dumps(call)), refuses="I would rather not. Why me?"),
    "mistaken": Dialect(
        lambda call: tag(dumps(call)),
        refuses='<tool_call>\n{"name": "no_such_tool", "arguments": {}}\n</tool_call>',
    ),
}

# Unfit objects: prose for the unwilling, the wrong fields for the mistaken.
UNFIT = {"unwilling": "I would rather not. Why me?", "mistaken": '{"wrong": [1, {}]}'}
GREETING = "Hello! How can I help you today? Ask me <anything> you like, e.g. `1 + 1`."


def answer(payload: Mapping[str, Any], name: str) -> str:
    """What the model says to a request, in a dialect.

    Raises:
        ValueError: The question needs tools or an object, and the prompt says nothing of it.
    """
    dialect, question = DIALECTS[name], Question.of(payload)
    functions, schema = tools_in(question.prompt), schema_in(question.prompt)
    if functions and not question.answers_tool:
        function = chosen(functions, question)
        if function is not None:
            arguments = filled(function["parameters"], question.asked)
            if dialect.refuses and question.must_call and not question.corrected:
                return dialect.refuses
            return dialect.call({"name": function["name"], "arguments": arguments})
    if schema is not None or question.wants_json:
        if dialect.refuses and not question.corrected:
            return UNFIT[name]
        fields: dict[str, Any] = {"properties": {key: {} for key in keys_asked_for(question.asked)}}
        return dialect.json(filled(schema or fields, question.asked))
    if not functions and re.search(r"\btool\b|\bjoke\b|weather|customer", question.asked):
        raise ValueError("The question needs a tool or a schema, and the prompt holds none.")
    if question.answers_tool:
        return f"The tool says: {question.last[:200]}"
    return GREETING


# --- the wire ---------------------------------------------------------------------------


def check(payload: Any) -> None:
    """What the protocol's server relies on."""
    model, messages = payload["model"], payload["messages"]
    assert isinstance(model["id"], str)
    assert isinstance(model["tokenLimit"], int)
    assert isinstance(payload["prompt"], str)
    assert payload["prompt"], "the reference server would put its own prompt here"
    assert isinstance(payload["key"], str)
    assert messages
    assert all(turn["role"] in ("user", "assistant") for turn in messages)
    assert all(isinstance(turn["content"], str) for turn in messages)


@dataclass
class DialectServer:
    """Serves `/api/chat` on loopback, in a thread of its own.

    Attributes:
        dialect: Which dialect the model speaks; may be changed between requests.
        requests: The payloads, in order.
        url: The base URL, once it runs.
    """

    dialect: str = "tag"
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> DialectServer:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(60)
        return self

    def __exit__(self, *exc_info: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/api/chat", self._chat)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        payload = await request.json()
        self.requests.append(payload)
        try:
            check(payload)
            reply = answer(payload, self.dialect)
        except (ValueError, AssertionError, KeyError) as error:
            return web.Response(status=400, reason=f"{error!r}"[:200].replace("\n", " "))
        response = web.StreamResponse()
        await response.prepare(request)
        # Odd sizes, in bytes: tags, keys and characters are cut in every place.
        left, sizes = reply.encode(), cycle([1, 5, 2, 3, 11, 4])
        while left:
            size = next(sizes)
            await response.write(left[:size])
            left = left[size:]
        await response.write_eof()
        return response
