"""`with_structured_output`: what a model is told of a schema, and the object of its reply."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import BaseCumulativeTransformOutputParser, JsonOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import (
    Runnable,
    RunnableLambda,
    RunnableMap,
    RunnablePassthrough,
    RunnablePick,
)
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from langchain_ai365vip._prompt.classes import reader_of
from langchain_ai365vip._prompt.schemas import titled, unwrapped
from langchain_ai365vip._prompt.wording import read_invalid_call_args
from langchain_ai365vip._turn.output_schema import Schema
from langchain_ai365vip._turn.turn import no_forced_call


def structured_output(
    model: BaseChatModel,
    schema: dict[str, Any] | type | None,
    settings: Mapping[str, Any],
    *,
    method: str,
    include_raw: bool,
    strict: bool | None,
    partial_objects: bool,
) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
    """Return a model with what it must be told of a schema, and a parser behind it.

    Its arguments are those of `ChatAI365VIP.with_structured_output`.

    Args:
        model: A model that knows the settings of `Tooling`.
        schema: A class or a schema, or `None` for any object.
        settings: Further settings of the call.
        method: How the object is to come.
        include_raw: Whether the reply comes with it, and an error in place of raising one.
        strict: Put into the tool's schema.
        partial_objects: Whether the object is streamed as it grows.

    Raises:
        ValueError: A method that there is not, or arguments that do not go together.
    """
    _check(schema, method, partial_objects, settings)
    schema, said = unwrapped(schema)
    strict = said if strict is None else strict
    wanted = None if schema is None else Schema.of(schema)
    if wanted is not None and wanted.opening == "[" and method == "function_calling":
        raise ValueError(
            f"{wanted.name} is a list, and a call's arguments are an object. Use "
            "method='json_schema', or a class with a field that holds the list."
        )
    schema = titled(schema)
    as_call = method == "function_calling"
    settings = {**settings, "include_raw": include_raw}
    bound = _bound(model, schema, wanted, method, strict, partial_objects, settings)
    parser = ObjectParser.of(wanted, as_call=as_call)
    if not include_raw:
        return bound | parser
    raw = RunnablePick("raw")
    parsed = parser.model_copy(update={"quiet": True})
    return RunnableMap(raw=bound) | RunnablePassthrough.assign(
        parsed=raw | parsed, parsing_error=raw | RunnableLambda(parser.problem)
    )


def _check(schema: Any, method: str, partial_objects: bool, settings: Mapping[str, Any]) -> None:
    if "tools" in settings:
        raise ValueError(
            "with_structured_output takes no tools. To have the model call tools first and "
            "answer with an object, use bind_tools(tools, response_format={'type': "
            "'json_schema', 'json_schema': {'name': ..., 'schema': {...}}})."
        )
    if method not in ("function_calling", "json_schema", "json_mode"):
        raise ValueError(
            f"method={method!r} is unknown: use 'function_calling', 'json_schema' or 'json_mode'."
        )
    if schema is None and method != "json_mode":
        raise ValueError(
            f"method={method!r} needs a schema: pass a pydantic class, a TypedDict or the dict "
            "of a JSON schema. Only method='json_mode' does without."
        )
    if partial_objects and method == "function_calling":
        raise ValueError(
            "partial_objects needs method='json_schema' or 'json_mode': the arguments of a "
            "call come as a whole."
        )


def _bound(
    model: BaseChatModel,
    schema: Any,
    wanted: Schema | None,
    method: str,
    strict: bool | None,
    partial_objects: bool,
    settings: Mapping[str, Any],
) -> Runnable[LanguageModelInput, AIMessage]:
    traced = {
        "kwargs": {"method": method, "strict": strict},
        "schema": None if wanted is None else _traced_schema(schema, wanted),
    }
    if method == "function_calling":
        # As with ChatOpenAI, the caller's settings win.
        settings = {"tool_choice": True, "parallel_tool_calls": False, **settings}
        return model.bind_tools(
            [schema],
            strict=strict,
            output_schema=wanted,
            ls_structured_output_format=traced,
            **settings,
        )
    response_format: dict[str, Any] = {"type": "json_object"}
    if method == "json_schema" and wanted is not None:
        shown = {"name": wanted.name, "schema": wanted.json_schema, "strict": strict}
        response_format = {"type": "json_schema", "json_schema": shown}
    return model.bind(
        response_format=response_format,
        output_schema=wanted,
        partial_objects=partial_objects,
        ls_structured_output_format=traced,
        **settings,
    )


def _traced_schema(schema: Any, wanted: Schema) -> Any:
    """Return a schema as LangChain traces it; where its conversion fails, as it is shown."""
    if dataclasses.is_dataclass(schema):  # which core takes for a function, and warns of defaults
        return wanted.json_schema
    try:
        return convert_to_json_schema(schema)
    except Exception:  # of any kind: core converts by pydantic v1
        return wanted.json_schema


class ObjectParser(BaseCumulativeTransformOutputParser[Any]):
    """LangChain's own parser of objects, and a look at the whole reply when it has ended.

    In a stream LangChain's parsers raise for nothing: a reply without an object would be an empty
    stream, and half an object would pass for a whole one.

    Attributes:
        inner: LangChain's parser.
        wanted: What the reply's text must hold; `None` for an object that a call brings.
        judge: The class or `TypedDict` of the object, if there is one.
        quiet: Whether a reply without the object gives `None` in place of an error.
    """

    inner: Any
    wanted: Schema | None = None
    judge: Any = None
    quiet: bool = False

    @classmethod
    def of(cls, wanted: Schema | None, *, as_call: bool) -> ObjectParser:
        """Return the parser for what `with_structured_output` was asked for.

        Args:
            wanted: The user's schema as it was read, or `None` for any JSON object.
            as_call: Whether the object comes as a tool call's arguments.
        """
        name, judge = ("", None) if wanted is None else (wanted.name, wanted.judge)
        if as_call:
            by_name = JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
            return cls(inner=by_name, judge=judge)
        return cls(inner=JsonOutputParser(), wanted=wanted or Schema(), judge=judge)

    def parse(self, text: str) -> Any:
        """Parse a text; see `parse_result`."""
        return self.parse_result([Generation(text=text)])

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the object, or what there is of it yet.

        Args:
            result: One generation, whose message or text holds the object.
            partial: Whether it is not complete yet: `None` then stands for no object.

        Raises:
            OutputParserException: The text does not hold the object.
            AI365VIPOutputError: The message does not hold the call.
        """
        if partial:
            return self._grown(self.inner.parse_result(result, partial=True))
        try:
            return self._parsed(result[0])
        except Exception:
            if self.quiet:
                return None
            raise

    def problem(self, message: AIMessage) -> Exception | None:
        """Return the error for a message that does not hold the object."""
        try:
            self._parsed(ChatGeneration(message=message))
        except Exception as error:
            return error
        return None

    def _parsed(self, generation: Generation) -> Any:
        value = self.inner.parse_result([self._whole(generation)])
        reader = reader_of(self.judge)
        return value if reader is None or value is None else reader(value)

    def _grown(self, value: Any) -> Any:
        """Return what there is of an object yet: of a pydantic class nothing before it is one."""
        is_class = isinstance(self.judge, type) and is_basemodel_subclass(self.judge)
        reader = reader_of(self.judge) if is_class else None
        if reader is None:
            return value
        try:
            return reader(value)
        except Exception:  # of any kind: a validator saw half an object
            return None

    def _whole(self, generation: Generation) -> Generation:
        if self.wanted is None:
            if isinstance(generation, ChatGeneration):
                _check_call(generation.message)
            return generation
        found = self.wanted.read(generation.text)
        if found.problem is not None:
            raise OutputParserException(
                f"The reply does not hold the object that was asked for ({found.problem}). It "
                f"says: {generation.text[:500]!r}. A larger model may follow the schema.",
                llm_output=generation.text,
            )
        return Generation(text=found.text)

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:
        chunks: list[Any] = []
        last: list[Any] = []
        for part in super()._transform(_noted(input, chunks)):
            last = [part]
            yield part
        yield from self._end(chunks, last)

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:
        chunks: list[Any] = []
        last: list[Any] = []
        async for part in super()._atransform(_anoted(input, chunks)):
            last = [part]
            yield part
        for part in self._end(chunks, last):
            yield part

    def _end(self, chunks: list[Any], last: list[Any]) -> list[Any]:
        """Return what the whole reply says, where it is not what the last part said."""
        if not chunks:
            return []
        message = chunks[0] + chunks[1:] if len(chunks) > 1 else chunks[0]
        whole = [self.parse_result([ChatGeneration(message=message)])]
        return [] if whole == last else whole


def _noted(input: Iterator[Any], chunks: list[Any]) -> Iterator[Any]:
    for chunk in input:
        chunks.append(chunk)
        yield chunk


async def _anoted(input: AsyncIterator[Any], chunks: list[Any]) -> AsyncIterator[Any]:
    async for chunk in input:
        chunks.append(chunk)
        yield chunk


def _check_call(message: BaseMessage) -> None:
    """Raise an `AI365VIPOutputError` for a message without a call that can be carried out."""
    if not isinstance(message, AIMessage) or message.tool_calls:
        return
    invalid = [
        found
        for call in message.invalid_tool_calls
        if (found := read_invalid_call_args(call["args"] or "")) is not None
    ]
    said = "\n".join([message.text, *(written for written, _ in invalid)]).strip()
    cut_off = message.response_metadata.get("finish_reason") == "length"
    errors: Sequence[str] = [error for _, error in invalid]
    raise no_forced_call(errors, said, cut_off=cut_off, for_object=True)
