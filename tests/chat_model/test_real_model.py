"""A real language model, end to end over HTTP: does it call tools when it should, only then?

`uv run --group demo pytest -m heavy tests/chat_model/test_real_model.py` prints the
two fractions. They are a measurement, not a promise: the model has 135 million parameters.

Decoding follows a grammar that allows either prose or one call, so the choice between the
two is the model's own; examples before each conversation show it both kinds of answer.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.local import LocalModel
from langchain_ai365vip.server import LocalServer

pytestmark = pytest.mark.heavy

Call = tuple[str, dict[str, Any]]


@tool
def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    return f"Sunny in {city}."


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


# Prose may hold anything but the start of a tag, and starts with no bracket or fence.
GRAMMAR = r"""
root ::= prose | call
prose ::= [^<{[`\x00-\x20] [^<]*
call ::= "<tool_call>\n" (weather | add) "\n</tool_call>"
weather ::= "{\"name\": \"get_weather\", \"arguments\": {\"city\": " string "}}"
add ::= "{\"name\": \"add\", \"arguments\": {\"a\": " integer ", \"b\": " integer "}}"
string ::= "\"" [^"\\<\x00-\x1f]{1,40} "\""
integer ::= "-"? [0-9]{1,9}
"""


def weather_in(city: str) -> Call:
    return "get_weather", {"city": city}


def sum_of(a: int, b: int) -> Call:
    return "add", {"a": a, "b": b}


def written(call: Call) -> str:
    name, arguments = call
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


# None of them is among the prompts below.
EXAMPLES = [
    ("What is the weather in Vienna?", written(weather_in("Vienna"))),
    ("Name two animals.", "Cat, Dog."),
    ("What is 21 + 4?", written(sum_of(21, 4))),
    ("What is the capital of Spain?", "Madrid is the capital of Spain."),
    ("Is it cold in Rome today?", written(weather_in("Rome"))),
    ("Hi!", "Hello! How can I help you?"),
    ("Add 2 and 90.", written(sum_of(2, 90))),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci painted the Mona Lisa."),
    ("Do I need a coat in Athens?", written(weather_in("Athens"))),
    ("How many legs has a dog?", "A dog has four legs."),
    ("How much is 300 plus 15?", written(sum_of(300, 15))),
]

FOR_TOOLS: dict[str, Call] = {
    "What is the weather in Paris?": weather_in("Paris"),
    "How is the weather in Tokyo today?": weather_in("Tokyo"),
    "Is it raining in London?": weather_in("London"),
    "Tell me the weather in Berlin.": weather_in("Berlin"),
    "Do I need an umbrella in Madrid?": weather_in("Madrid"),
    "What's the temperature in Oslo?": weather_in("Oslo"),
    "Is it sunny in Cairo right now?": weather_in("Cairo"),
    "How cold is it in Moscow?": weather_in("Moscow"),
    "Check the weather for Sydney.": weather_in("Sydney"),
    "Weather in New York, please.": weather_in("New York"),
    "Will it snow in Helsinki today?": weather_in("Helsinki"),
    "How hot is it in Mumbai?": weather_in("Mumbai"),
    "I am going to Lisbon. What is the weather there?": weather_in("Lisbon"),
    "What is 12 + 30?": sum_of(12, 30),
    "Add 5 and 7.": sum_of(5, 7),
    "What is the sum of 100 and 250?": sum_of(100, 250),
    "How much is 19 plus 23?": sum_of(19, 23),
    "Calculate 8 + 64.": sum_of(8, 64),
    "Please add 41 and 1.": sum_of(41, 1),
    "What do you get when you add 77 to 33?": sum_of(77, 33),
    "3 + 9 = ?": sum_of(3, 9),
    "Sum up 500 and 45.": sum_of(500, 45),
    "I have 14 apples and buy 6 more. How many are there?": sum_of(14, 6),
    "Compute 1234 + 4321.": sum_of(1234, 4321),
    "What is 60 and 15 together?": sum_of(60, 15),
}
FOR_WORDS = [
    "What is the capital of France?",
    "Name three colors.",
    "Who wrote Romeo and Juliet?",
    "Hello!",
    "Thank you very much.",
    "What is the opposite of hot?",
    "Tell me a joke.",
    "What color is the sky?",
    "How do you say hello in Spanish?",
    "Name a large animal.",
    "What is the largest planet?",
    "Who was Albert Einstein?",
    "What do cows eat?",
    "Good morning!",
    "What language do people speak in Brazil?",
    "Name two fruits.",
    "What is water made of?",
    "Can birds fly?",
    "What is your name?",
    "Write one sentence about cats.",
    "What is the capital of Italy?",
    "Why do people sleep?",
    "What is a poem?",
    "Which season comes after winter?",
    "Do fish live in water?",
]


def calls_of(message: AIMessage) -> list[Call]:
    return [(call["name"], call["args"]) for call in message.tool_calls]


def test_a_real_model_answers_every_prompt_in_words_or_by_a_valid_call(
    capsys: pytest.CaptureFixture[str],
) -> None:
    prompts: list[Any] = [*FOR_TOOLS, *FOR_WORDS]
    # One thread: several wait for each other where other programs share the cores.
    local = LocalModel(examples=EXAMPLES, grammar=GRAMMAR, max_tokens=60, threads=1)
    with local, LocalServer(local) as server:
        model = ChatAI365VIP(
            model="smollm2", base_url=server.base_url, temperature=0, max_retries=0, timeout=600
        )
        bound = model.bind_tools([get_weather, add])
        answers = bound.batch(prompts, config={"max_concurrency": 4})
        requests = server.requests
        model.close()
    said = dict(zip(prompts, answers, strict=True))
    called = sum(calls_of(said[prompt]) == [call] for prompt, call in FOR_TOOLS.items())
    in_words = sum(not calls_of(said[prompt]) for prompt in FOR_WORDS)
    with capsys.disabled():
        sys.stdout.write(
            f"\nPrompts for a tool answered by the right call: {called} of {len(FOR_TOOLS)}; "
            f"prompts for words answered in words: {in_words} of {len(FOR_WORDS)}\n"
        )

    assert len(said) == len(answers) == 50
    assert requests == 50  # not one call had to be asked for again
    for answer in answers:
        assert answer.invalid_tool_calls == []
        assert bool(answer.text.strip()) != bool(answer.tool_calls)
        for name, arguments in calls_of(answer):
            {"get_weather": get_weather, "add": add}[name].invoke(arguments)
