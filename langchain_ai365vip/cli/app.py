"""The commands and their options; what they do is in the modules beside this one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from langchain_ai365vip import __version__
from langchain_ai365vip.cli.ending import ending
from langchain_ai365vip.cli.exits import MEANINGS, Exit
from langchain_ai365vip.cli.target import REQUEST, Target, with_target
from langchain_ai365vip.cli.terminal import is_terminal, note, say, say_json, warnings_as_notes

# "\b" keeps the lines as they are.
_EXIT_CODES: Final = "\n".join(
    ["\b", "Exit codes:", *(f"  {code.value:>3}  {MEANINGS[code]}" for code in Exit)]
)

app = typer.Typer(
    # Never on: they show local variables, and keys are among those.
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXIT_CODES,
)

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for scripts.")]
# Typer exports only this class of its own (or of click, before 0.26).
_UsageError: Final[Any] = typer.BadParameter.__mro__[1]


def run() -> None:
    """Run the command line of this process."""
    warnings_as_notes()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a "?", not a crash.
        if stream is not None:
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a TextIOWrapper
    command(sys.argv[1:])


def command(arguments: Sequence[str]) -> NoReturn:
    """Run a command and exit with its code; without arguments, show the help."""
    # Typer draws boxes with it, which pipes and scripts have no use for.
    app.rich_markup_mode = "rich" if is_terminal(sys.stdout) else None
    try:
        code = app(list(arguments) or ["--help"], standalone_mode=False)
    except _UsageError as exc:
        at = exc.ctx.command_path if exc.ctx else "ai365vip"
        note(f"ai365vip: {exc.format_message()} ({at} --help shows what there is)")
        sys.exit(Exit.USAGE)
    sys.exit(code)


def _show_version(value: bool) -> None:
    if value:
        say(f"ai365vip {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Chat with, serve and examine endpoints of the AI365VIP (Chatbot UI v1) protocol."""


@app.command()
@with_target()
def chat(
    prompt: Annotated[str | None, typer.Argument(help="What to ask.")] = None,
    *,
    target: Target,
    json: Json = False,
    no_history: Annotated[
        bool,
        typer.Option("--no-history", help="Keep nothing of a conversation for the arrow keys."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Ask a question; the answer streams to standard output.

    What is piped in is added to PROMPT, or is the prompt. Without either, at
    a terminal, this holds a conversation: /help there says more.
    """
    with ending(debug=debug):
        from langchain_core.messages import HumanMessage

        from langchain_ai365vip.cli import chat as chatting
        from langchain_ai365vip.cli.endpoints import opened

        question = chatting.read_prompt(prompt, sys.stdin, conversation=not json)
        with opened(target) as client:
            if question is None:
                from langchain_ai365vip.cli.conversation import converse

                converse(client, history=not no_history, debug=debug)
            elif json:
                say_json(chatting.reply(client, question))
            else:
                chatting.answer(client, [HumanMessage(question)], [])


@app.command()
@with_target("local", "gguf")
def serve(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:OBJECT]",
            help="A model, chain, graph or function of yours: app:agent is agent of app.py.",
        ),
    ] = None,
    *,
    factory: Annotated[
        bool,
        typer.Option("--factory", help="OBJECT is called, without arguments, to make the model."),
    ] = False,
    target: Target,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER:NAME",
            help="Any model that LangChain's init_chat_model knows, such as openai:gpt-4o; "
            "repeatable.",
        ),
    ] = None,
    default: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER:NAME",
            help="Of several models, the one that answers to ids that are not listed.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; any but this machine's own needs a key."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Key that requests must carry. Better in AI365VIP_API_KEY: others on this "
            "machine can see a command's arguments.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Web origin whose pages may call; repeatable."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Further name of this host; repeatable."),
    ] = None,
    plain_http_front_end: Annotated[
        bool,
        typer.Option(
            "--plain-http-front-end",
            help="Browsers reach a front end over HTTP from other machines: end a reply that "
            "fails half-way with a visible line for each of them.",
        ),
    ] = False,
    max_body_size: Annotated[
        int, typer.Option(metavar="BYTES", min=1, help="Longest body of a request.")
    ] = 4_194_304,
    max_concurrency: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, help="Replies under way at a time.")
    ] = 100,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="How long replies may go on when it is stopped."
        ),
    ] = 5,
    access_log: Annotated[
        bool,
        typer.Option(
            "--access-log", help="Show a line for each request, without its texts, on stderr."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show tracebacks, and the model's own error messages to clients."
        ),
    ] = False,
) -> None:
    """Serve a model as an endpoint until Ctrl-C or SIGTERM; prints the URL."""
    with ending(debug=debug):
        from langchain_ai365vip.cli import serve as serving

        with serving.chosen(
            source, factory=factory, local=target.local, gguf=target.gguf, models=model or ()
        ) as chosen:
            serving.serve(
                chosen,
                grace=grace,
                access_log=access_log,
                default=default,
                host=host,
                port=port,
                api_key=serving.key(api_key),
                allowed_origins=allow_origin or (),
                allowed_hosts=allow_host or (),
                max_body_size=max_body_size,
                max_concurrency=max_concurrency,
                plain_http_front_end=plain_http_front_end,
                debug=debug,
            )


@app.command()
@with_target("base_url", *REQUEST)
def models(*, target: Target, json: Json = False, debug: Debug = False) -> None:
    """List an endpoint's models: id, tab, name."""
    with ending(debug=debug):
        from langchain_ai365vip.cli.endpoints import opened

        with opened(target) as client:
            listed = client.list_models()
            if json:
                say_json([each._asdict() for each in listed])
                return
            for each in listed:
                say(each.id, each.name)
            if not listed:
                note("The endpoint lists no models; --model takes any id that it knows.")


@app.command()
@with_target("base_url", "model", *REQUEST)
def check(*, target: Target, debug: Debug = False) -> None:
    """Make real requests to an endpoint and say in plain words what is wrong with it.

    It asks for the models and for one short answer. The exit code says what
    was found.
    """
    with ending(debug=debug):
        from langchain_ai365vip.cli import check as checking
        from langchain_ai365vip.cli.endpoints import opened

        with opened(target, max_retries=0) as client:
            sys.exit(checking.check(client))


@app.command()
@with_target()
def batch(
    source: Annotated[
        str,  # A Path would make `-` of `./-`.
        typer.Argument(
            metavar="IN.jsonl",
            help="A prompt, or an object with prompt or messages, and perhaps id, per line; or -.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT.jsonl",
            help="Answers; grows as they come.",
        ),
    ],
    *,
    concurrency: Annotated[int, typer.Option(min=1, help="Rows asked for at a time.")] = 16,
    rate: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", min=1, help="Requests a minute at most, retries and corrections too."
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            exists=True,
            dir_okay=False,
            help="JSON schema: answers are objects that fit it.",
        ),
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Ask again for all rows that failed before, not only where that may help.",
        ),
    ] = False,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Bring the finished output into the input's order.")
    ] = False,
    target: Target,
    debug: Debug = False,
) -> None:
    """Answer the rows of a JSON Lines file.

    Rows that are answered in the output are not asked for again: after Ctrl-C,
    or worse, run the same command to go on. It ends with 0 once every row is
    answered.
    """
    with ending(debug=debug):
        from langchain_ai365vip.cli.batch import answer_rows, limiter
        from langchain_ai365vip.cli.endpoints import opened

        with opened(target, rate_limiter=rate and limiter(rate)) as client:
            code = answer_rows(
                client,
                source,
                output,
                concurrency=concurrency,
                schema=schema,
                retry_failed=retry_failed,
                ordered=ordered,
            )
        sys.exit(code)
