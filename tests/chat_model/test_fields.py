"""`ChatAI365VIP` without a wire: its fields, and what it tells LangChain about itself."""

from __future__ import annotations

import copy
import json
import math
import pickle
import re
import socket
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps, load
from langchain_core.runnables import ConfigurableField, RunnableBinding
from langchain_core.runnables.configurable import RunnableConfigurableFields
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr, ValidationError

from langchain_ai365vip import ChatAI365VIP, Timeout, __version__, _settings
from langchain_ai365vip._settings import Arguments
from langchain_ai365vip.errors import AI365VIPConnectionError

SENTINEL = "sentinel-of-a-secret"


def revealed(value: object) -> object:
    """A value as a user would write it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {name: revealed(each) for name, each in value.items()}
    return value


# -- fields ------------------------------------------------------------------------------------

DEFAULTS: dict[str, Any] = {
    "model": "gpt-3.5-turbo",
    "base_url": "https://chat.ai365vip.com",
    "api_key": None,
    "proxy": None,
    "temperature": 1.0,
    "system_prompt": "You are a helpful assistant.",
    "stop": None,
    "max_tokens": None,
    "timeout": None,
    "max_retries": 2,
    "streaming": None,
    "default_headers": None,
    "extra_body": None,
    "token_limit": None,
    "max_connections": None,
    "special_tokens": "escape",
    "reasoning": False,
    "estimate_usage": False,
    "ca_bundle": None,
    "ssl_context": None,
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_field_has_its_documented_default(name: str) -> None:
    assert getattr(ChatAI365VIP(), name) == DEFAULTS[name]


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        pytest.param("model", "gpt-4o", "gpt-4o", id="model"),
        pytest.param("base_url", "http://h:1/a/", "http://h:1/a", id="one-trailing-slash"),
        pytest.param("base_url", " http://h:1// ", "http://h:1", id="slashes-and-blanks"),
        pytest.param("api_key", "k", "k", id="api_key"),
        pytest.param("api_key", SecretStr("k"), "k", id="secret-api_key"),
        pytest.param("proxy", " http://h:1 ", "http://h:1", id="proxy"),
        pytest.param("proxy", "socks5://u:p@h:1", "socks5://u:p@h:1", id="socks-proxy"),
        pytest.param("proxy", "", None, id="blank-proxy"),
        pytest.param("temperature", 0, 0.0, id="temperature-zero"),
        pytest.param("temperature", None, None, id="temperature-none"),
        pytest.param("system_prompt", "", "", id="blank-system_prompt"),
        pytest.param("stop", ["a", "b"], ["a", "b"], id="stop"),
        pytest.param("stop", "ab", ["ab"], id="stop-text"),
        pytest.param("stop", [], [], id="stop-empty"),
        pytest.param("max_tokens", 1, 1, id="max_tokens"),
        pytest.param("timeout", 3, 3.0, id="timeout"),
        pytest.param("timeout", Timeout(connect=1), Timeout(1, 120, 60, None), id="Timeout"),
        pytest.param("max_retries", 0, 0, id="max_retries-zero"),
        pytest.param("default_headers", {"X": "y"}, {"X": "y"}, id="default_headers"),
        pytest.param("extra_body", {"top_p": 0}, {"top_p": 0}, id="extra_body"),
        pytest.param("token_limit", 4096, 4096, id="token_limit"),
        pytest.param("max_connections", 3, 3, id="max_connections"),
        pytest.param("special_tokens", "send", "send", id="special_tokens"),
        pytest.param("ca_bundle", "/etc/ca.pem", "/etc/ca.pem", id="ca_bundle"),
    ],
)
def test_a_field_keeps_what_it_is_given(name: str, given: Any, kept: object) -> None:
    assert revealed(getattr(ChatAI365VIP(**{name: given}), name)) == kept


ENVIRONMENT = {
    "api_key": ("AI365VIP_API_KEY", "from-the-environment"),
    "base_url": ("AI365VIP_BASE_URL", "http://from-the-environment:1"),
    "proxy": ("AI365VIP_PROXY", "http://from-the-environment:2"),
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_field_is_read_from_its_environment_variable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable, value = ENVIRONMENT[name]
    monkeypatch.setenv(variable, value)
    assert revealed(getattr(ChatAI365VIP(), name)) == value


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_for_the_base_url_is_as_good_as_none(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI365VIP_BASE_URL", value)
    assert ChatAI365VIP().base_url == "https://chat.ai365vip.com"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "base_url",
            "http://user:PASSWORD@host",
            r"base_url \(or AI365VIP_BASE_URL\) must hold no user",
        ),
        ("base_url", "ftp://host", r"base_url \(or AI365VIP_BASE_URL\) must be an http"),
        ("proxy", "foo://user:PASSWORD@host", r"proxy \(or AI365VIP_PROXY\) must be an http"),
        ("proxy", "http://", r"proxy \(or AI365VIP_PROXY\) must name a host"),
    ],
)
def test_a_setting_of_the_environment_is_checked_as_an_argument_is(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT[name][0], value)
    with pytest.raises(ValidationError, match=says) as caught:
        ChatAI365VIP()
    assert "PASSWORD" not in str(caught.value)


def test_trailing_slashes_of_the_environments_base_url_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI365VIP_BASE_URL", "http://host//")
    assert ChatAI365VIP().base_url == "http://host"


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_an_argument_wins_over_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(*ENVIRONMENT[name])
    given: Any = "http://given:1"
    assert revealed(getattr(ChatAI365VIP(**{name: given}), name)) == given


def test_model_name_is_the_model() -> None:
    model = ChatAI365VIP(model_name="gpt-4o")
    assert model.model == model.model_name == "gpt-4o"
    model.model = "llama-3"
    assert model.model_name == "llama-3"


def test_stop_sequences_is_stop() -> None:
    assert ChatAI365VIP(stop_sequences=["END"]).stop == ["END"]


@pytest.mark.parametrize("names", [("model", "model_name"), ("stop", "stop_sequences")])
def test_one_field_under_two_names_is_refused(names: tuple[str, str]) -> None:
    arguments: dict[str, Any] = dict.fromkeys(names, "a")
    with pytest.raises(ValidationError, match=f"{' and '.join(names)} are one argument"):
        ChatAI365VIP(**arguments)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        pytest.param("model", "", "at least 1 character", id="blank-model"),
        pytest.param("model", 3, "valid string", id="model-number"),
        pytest.param(
            "base_url",
            f"ftp://{SENTINEL}",
            r"base_url \(or AI365VIP_BASE_URL\) must be an http",
            id="scheme",
        ),
        pytest.param(
            "base_url",
            f"{SENTINEL}:3000",
            r"base_url \(or AI365VIP_BASE_URL\) must be an http",
            id="no-scheme",
        ),
        pytest.param("base_url", "", "left out it is the public site", id="blank-base_url"),
        pytest.param("base_url", " ", "left out it is the public site", id="blank-base_url-2"),
        pytest.param("base_url", f"http://u:{SENTINEL}@h", "no user or password", id="password"),
        pytest.param("base_url", f"http://{SENTINEL}@h", "no user or password", id="user"),
        pytest.param("base_url", f"http://h/?k={SENTINEL}", "no query", id="query"),
        pytest.param(
            "base_url",
            f"http://h:{SENTINEL}",
            r"base_url \(or AI365VIP_BASE_URL\) must be an http",
            id="port",
        ),
        pytest.param("base_url", "http://h/api/chat", "is appended to it", id="endpoint"),
        pytest.param("base_url", None, "valid string", id="no-base_url"),
        pytest.param(
            "proxy",
            f"gopher://{SENTINEL}",
            r"proxy \(or AI365VIP_PROXY\) must be an http",
            id="proxy-scheme",
        ),
        pytest.param(
            "proxy", f"u:{SENTINEL}@h:1", r"proxy \(or AI365VIP_PROXY\) must", id="proxy-no-scheme"
        ),
        pytest.param("proxy", "http://", r"proxy \(or AI365VIP_PROXY\) must", id="proxy-no-host"),
        pytest.param("api_key", {SENTINEL: 1}, "valid string", id="api_key"),
        pytest.param("temperature", -1, "greater than or equal to 0", id="temperature-negative"),
        pytest.param("temperature", math.inf, "finite", id="temperature-infinite"),
        pytest.param("temperature", math.nan, "finite|greater", id="temperature-nan"),
        pytest.param("temperature", SENTINEL, "valid number", id="temperature-text"),
        pytest.param("stop", 3, "valid list", id="stop-number"),
        pytest.param("stop", [3], "valid string", id="stop-numbers"),
        pytest.param("max_tokens", 0, "greater than or equal to 1", id="max_tokens-zero"),
        pytest.param("timeout", 0, "timeout must be a number of seconds", id="timeout-zero"),
        pytest.param("timeout", Timeout(total=-1), "total must be a number", id="Timeout"),
        pytest.param("max_retries", -1, "greater than or equal to 0", id="max_retries"),
        pytest.param("default_headers", {"X": [SENTINEL]}, "valid string", id="headers"),
        pytest.param("extra_body", {"key": SENTINEL}, "pass api_key instead", id="extra_body-key"),
        pytest.param("token_limit", 0, "greater than 0", id="token_limit"),
        pytest.param("default_headers", {"X Y": "v"}, "'X Y' is no name of a", id="header-name"),
        pytest.param(
            "default_headers", {"X": f"{SENTINEL}\n"}, "of 'X' must be", id="header-value"
        ),
        pytest.param("timeout", Timeout(connect=-1), "timeout: connect must be", id="Timeout"),
        pytest.param("max_connections", 0, "greater than 0", id="max_connections"),
        pytest.param("special_tokens", SENTINEL, "'escape', 'raise' or 'send'", id="special"),
    ],
)
def test_a_bad_value_is_refused_and_not_repeated(field: str, value: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says) as raised:
        ChatAI365VIP(**{field: value})
    assert field in str(raised.value)
    assert SENTINEL not in str(raised.value)


@pytest.mark.parametrize(
    ("misspelt", "nearest"),
    [
        ("temprature", "temperature"),
        ("api_kee", "api_key"),
        ("apikey", "api_key"),
        ("baseurl", "base_url"),
        ("max_token", "max_tokens"),
        ("modelname", "model_name"),
        ("system_promt", "system_prompt"),
        ("timeouts", "timeout"),
        # As other integrations have it.
        *(("api_base", "base_url"), ("openai_api_base", "base_url"), ("url", "base_url")),
        *(("endpoint", "base_url"), ("openai_api_key", "api_key"), ("model_id", "model")),
        *(("request_timeout", "timeout"), ("max_completion_tokens", "max_tokens")),
        *(("headers", "default_headers"), ("system", "system_prompt")),
        ("model_kwargs", "extra_body"),
    ],
)
def test_a_misspelt_argument_is_named_with_the_nearest_field(misspelt: str, nearest: str) -> None:
    arguments: dict[str, Any] = {misspelt: SENTINEL}
    with pytest.warns(UserWarning, match=f"no argument '{misspelt}'.*mean '{nearest}'") as warned:
        model = ChatAI365VIP(**arguments)
    assert [warning.filename for warning in warned] == [__file__]
    assert SENTINEL not in str(warned[0].message) + repr(model) + dumps(model)


@pytest.mark.parametrize("name", ["zzz", "top_p", "top_k", "n", "seed", "logprobs", "user"])
def test_an_argument_like_no_field_is_named_without_a_guess(name: str) -> None:
    arguments: dict[str, Any] = {name: SENTINEL}
    with pytest.warns(UserWarning, match=f"no argument '{name}'; it is ignored") as warned:
        ChatAI365VIP(**arguments)
    assert "Did you mean" not in str(warned[0].message)
    assert "for a server that reads them, go into extra_body" in str(warned[0].message)


def test_each_misspelt_argument_gets_its_own_warning_also_in_a_subclass() -> None:
    class Mine(ChatAI365VIP):
        own_field: int = 0

    with pytest.warns(UserWarning, match="no argument") as warned:
        Mine(temprature=1, own_feld=2, own_field=3)
    assert len(warned) == 2
    assert "mean 'own_field'" in "".join(str(warning.message) for warning in warned)
    assert {warning.filename for warning in warned} == {__file__}


def test_no_field_of_core_is_taken_for_a_misspelling() -> None:
    values: dict[str, Any] = {
        name: None for name in ChatAI365VIP.model_fields if name not in DEFAULTS
    }
    values |= {"verbose": False, "disable_streaming": True}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ChatAI365VIP(**values)


def test_type_checkers_are_told_every_name_that_a_field_may_be_passed_by() -> None:
    named = set(ChatAI365VIP.model_fields) | {"model_name", "stop_sequences"}
    assert set(Arguments.__annotations__) == named
    assert not Arguments.__required_keys__


def test_building_a_model_makes_no_client_and_opens_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aiohttp.ClientSession.__init__", lambda *_, **__: pytest.fail("a session"))
    model = ChatAI365VIP()
    assert not any("session" in name for name in vars(model))


# -- what LangChain asks -----------------------------------------------------------------------


def test_the_langsmith_parameters_are_the_models() -> None:
    model = ChatAI365VIP(model="gpt-4o", temperature=0, max_tokens=5, stop=["END"])
    assert model._get_ls_params() == {
        "ls_provider": "ai365vip",
        "ls_model_type": "chat",
        "ls_model_name": "gpt-4o",
        "ls_temperature": 0,
        "ls_max_tokens": 5,
        "ls_stop": ["END"],
    }


def test_the_langsmith_parameters_follow_the_call() -> None:
    model = ChatAI365VIP(model="gpt-4o", stop=["END"])
    params = model._get_ls_params(stop=["x"], model="other", temperature=0, max_tokens=7)
    assert params == {
        "ls_provider": "ai365vip",
        "ls_model_type": "chat",
        "ls_model_name": "other",
        "ls_temperature": 0,
        "ls_max_tokens": 7,
        "ls_stop": ["x"],
    }
    assert "ls_temperature" not in model._get_ls_params(temperature=None)
    assert model._get_ls_params(model=None) == model._get_ls_params()
    assert model._get_llm_string(model=None) == model._get_llm_string()
    assert "ls_stop" not in model._get_ls_params(stop=[])


def test_the_version_is_stamped_beside_cores() -> None:
    metadata = ChatAI365VIP(metadata={"mine": 1}).metadata
    assert metadata is not None
    assert metadata["mine"] == 1
    assert metadata["lc_versions"]["langchain-ai365vip"] == __version__
    assert "langchain-core" in metadata["lc_versions"]


def test_a_model_of_the_table_has_a_profile_and_others_have_none_of_its_numbers() -> None:
    profile = ChatAI365VIP(model="gpt-4o").profile
    assert profile is not None
    # The server keeps 1,000 tokens of the context window for the reply.
    assert profile["max_input_tokens"] == 127_000
    assert profile["tool_calling"] is True
    assert profile["image_inputs"] is False
    assert "max_input_tokens" not in (ChatAI365VIP(model="llama-3").profile or {})


def test_core_reads_its_output_version_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LC_OUTPUT_VERSION", "v1")
    assert ChatAI365VIP().output_version == "v1"


def test_the_type_and_the_path_are_public_names() -> None:
    assert ChatAI365VIP()._llm_type == "ai365vip-chat"
    assert ChatAI365VIP.is_lc_serializable()
    assert ChatAI365VIP.lc_id() == ["langchain_ai365vip", "chat_models", "ChatAI365VIP"]
    assert ChatAI365VIP().lc_secrets == {
        "api_key": "AI365VIP_API_KEY",
        "proxy": "AI365VIP_PROXY",
    }


SETTINGS: dict[str, Any] = {
    "model": "gpt-4o",
    "base_url": "http://h:1",
    "api_key": SENTINEL,
    "proxy": f"http://u:{SENTINEL}@h:2",
    "temperature": 0.0,
    "system_prompt": "Be brief.",
    "stop": ["END"],
    "max_tokens": 9,
    "timeout": Timeout(1, 2, 3, 4),
    "max_retries": 0,
    "streaming": True,
    "extra_body": {"top_p": 0.5},
    "token_limit": 4096,
    "max_connections": 3,
    "special_tokens": "send",
    "ca_bundle": "/etc/ca.pem",
    "output_version": "v1",
    "reasoning": True,
    "estimate_usage": True,
}


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
@pytest.mark.parametrize("settings", [{}, SETTINGS], ids=["defaults", "everything"])
def test_a_dumped_model_loads_again(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ChatAI365VIP(**settings)
    dumped = dumpd(model)
    assert SENTINEL not in json.dumps(dumped)
    secrets = {
        "AI365VIP_API_KEY": settings.get("api_key"),
        "AI365VIP_PROXY": settings.get("proxy"),
    }
    loaded = load(
        json.loads(json.dumps(dumped)),
        allowed_objects=[ChatAI365VIP],
        valid_namespaces=["langchain_ai365vip"],
        secrets_map={name: value for name, value in secrets.items() if value is not None},
    )
    assert isinstance(loaded, ChatAI365VIP)
    assert loaded == model
    assert dumpd(loaded) == dumped


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_bound_model_is_copied_and_loaded(copied: Callable[[Any], Any]) -> None:
    model = ChatAI365VIP()
    for own in (model.bind(stop=["x"]), model.with_config(tags=["a"]).bind(temperature=0)):
        assert isinstance(own, RunnableBinding)
        assert copied(own) == own
        loaded = load(
            dumpd(own),
            allowed_objects=[ChatAI365VIP, RunnableBinding],
            valid_namespaces=["langchain_ai365vip"],
        )
        assert (loaded.bound, loaded.kwargs) == (model, own.kwargs)


def test_headers_are_in_no_dump_and_no_repr() -> None:
    model = ChatAI365VIP(default_headers={"Authorization": f"Bearer {SENTINEL}"}, **SETTINGS)
    for text in (
        dumps(model),
        repr(model),
        str(model),
        str(model.model_dump()),
        str(model.asdict()),
    ):
        assert SENTINEL not in text
        assert "Bearer" not in text


CHANGES: list[tuple[str, Any]] = [
    ("model", "other"),
    ("base_url", "http://other:1"),
    ("temperature", 0.0),
    ("system_prompt", "Be brief."),
    ("stop", ["END"]),
    ("max_tokens", 5),
    ("token_limit", 4096),
    ("extra_body", {"top_p": 0}),
    ("special_tokens", "send"),
    ("output_version", "v1"),
    ("reasoning", True),
    ("reasoning", "opened"),
    ("estimate_usage", True),
]
NO_CHANGES: list[tuple[str, Any]] = [
    ("api_key", SecretStr(SENTINEL)),
    ("proxy", SecretStr(f"http://u:{SENTINEL}@h:1")),
    ("default_headers", {"Authorization": SecretStr(SENTINEL)}),
    ("timeout", 5.0),
    ("max_retries", 0),
    ("max_connections", 3),
    ("ca_bundle", "/etc/ca.pem"),
    ("streaming", True),
    ("disable_streaming", True),
    ("metadata", {"a": 1}),
    ("tags", ["a"]),
    ("name", "mine"),
    ("verbose", True),
]


@pytest.mark.parametrize(("name", "value"), CHANGES, ids=[name for name, _ in CHANGES])
def test_the_cache_key_follows_what_changes_the_answer(name: str, value: Any) -> None:
    model = ChatAI365VIP()
    before = model._get_llm_string()
    assert model._get_llm_string() == before
    assert ChatAI365VIP(**{name: value})._get_llm_string() != before
    setattr(model, name, value)
    assert model._get_llm_string() != before
    if name not in ("output_version", "stop"):  # core passes `stop` by itself
        assert ChatAI365VIP()._get_llm_string(**{name: value}) != before


def test_the_cache_key_follows_a_list_or_dict_that_is_changed_in_place() -> None:
    model = ChatAI365VIP(stop=["a"], extra_body={"top_p": 0})
    seen = {model._get_llm_string()}
    assert model.stop is not None
    assert model.extra_body is not None
    model.stop.append("b")
    seen.add(model._get_llm_string())
    model.extra_body["top_p"] = 1
    seen.add(model._get_llm_string())
    assert len(seen) == 3


class Answer(BaseModel):
    text: str


def test_the_cache_key_follows_tools_and_schemas_and_is_the_same_in_every_process() -> None:
    bindings: list[Any] = [
        ChatAI365VIP().bind_tools([Answer]),
        ChatAI365VIP().bind_tools([Answer], tool_choice="any"),
        ChatAI365VIP().with_structured_output(Answer),
        ChatAI365VIP().with_structured_output(Answer, method="json_schema"),
        ChatAI365VIP().with_structured_output(method="json_mode"),
    ]
    keys = set()
    for binding in bindings:
        bound = getattr(binding, "first", binding)
        settings = {k: v for k, v in bound.kwargs.items() if not k.startswith("ls_")}
        keys.add(bound.bound._get_llm_string(**settings))
    assert len(keys) == len(bindings)
    # No address of an object, which another process would not have.
    assert not any(re.search(r"\bat 0x[0-9a-f]+", key) for key in keys)


@pytest.mark.parametrize(("name", "value"), NO_CHANGES, ids=[name for name, _ in NO_CHANGES])
def test_the_cache_key_does_not_follow_the_rest_and_holds_no_secret(name: str, value: Any) -> None:
    model = ChatAI365VIP()
    before = model._get_llm_string()
    assert ChatAI365VIP(**{name: value})._get_llm_string() == before
    setattr(model, name, value)
    assert model._get_llm_string() == before
    assert SENTINEL not in before


def test_the_cache_key_follows_the_calls_stop() -> None:
    model = ChatAI365VIP()
    assert model._get_llm_string(stop=["a"]) != model._get_llm_string()
    assert model._get_llm_string(max_retries=5) == model._get_llm_string()


def test_what_a_trace_shows_of_the_model_follows_a_changed_field() -> None:
    model = ChatAI365VIP(model="one")
    assert model._serialized["kwargs"]["model"] == "one"
    model.model = "two"
    assert model._serialized["kwargs"]["model"] == "two"


def test_the_identifying_parameters_are_those_that_change_the_answer() -> None:
    model = ChatAI365VIP(default_headers={"X": SENTINEL}, **SETTINGS)
    names = {name for name, _ in CHANGES} - {"output_version"}
    assert names <= model._identifying_params.keys()
    assert not model._identifying_params.keys() & {name for name, _ in NO_CHANGES}
    assert {name: model._identifying_params[name] for name in names} == {
        name: SETTINGS[name] for name in names
    }
    assert SENTINEL not in str(model._get_invocation_params())


@pytest.mark.parametrize(
    ("name", "value"),
    [("api_key", "k"), ("proxy", "http://u:p@h:1"), ("temperature", 0), ("model", "m")],
)
def test_a_configurable_field_reaches_the_model(name: str, value: Any) -> None:
    original = ChatAI365VIP(**SETTINGS)
    configurable = original.configurable_fields(**{name: ConfigurableField(id=name)})
    assert isinstance(configurable, RunnableConfigurableFields)
    model, _ = configurable.prepare({"configurable": {name: value}})
    assert isinstance(model, ChatAI365VIP)
    assert revealed(getattr(model, name)) == value
    others = set(SETTINGS) - {name}
    assert all(getattr(model, other) == getattr(original, other) for other in others)


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("api_key", "k", SecretStr("k")),
        ("proxy", "http://h:1", SecretStr("http://h:1")),
        ("default_headers", {"X": "y"}, {"X": SecretStr("y")}),
        ("base_url", "http://h:1/", "http://h:1"),
        ("stop", "END", ["END"]),
    ],
)
def test_a_field_set_later_is_treated_as_the_constructor_does(
    name: str, given: object, kept: object
) -> None:
    model = ChatAI365VIP()
    assert model._serialized  # as a first call would have made it
    setattr(model, name, given)
    assert getattr(model, name) == kept
    with pytest.raises(ValidationError) as raised:
        setattr(model, name, {"X": [SENTINEL]})
    assert SENTINEL not in str(raised.value)
    assert getattr(model, name) == kept


@pytest.mark.parametrize("kind", [3, ["object", "null"]], ids=["a-number", "a-list"])
def test_a_schema_of_a_type_that_core_cannot_read_is_refused_in_words(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"The schema's type is .*: it must be one name, 'object'"):
        ChatAI365VIP().with_structured_output({"title": "T", "type": kind}, method="json_schema")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.mark.parametrize(
    "tools",
    [None, add, print, {"name": "add", "parameters": {}}, "add"],
    ids=["none", "one-tool", "a-function", "a-dict", "a-name"],
)
def test_what_is_no_list_of_tools_is_refused_in_words(tools: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^tools is a .*: pass a list of tools, such as \[search\]"
    ):
        ChatAI365VIP().bind_tools(tools)


def test_its_repr_is_short_and_says_which_model_is_asked() -> None:
    assert repr(ChatAI365VIP(base_url="http://127.0.0.1:9")) == (
        "ChatAI365VIP(model='gpt-3.5-turbo', base_url='http://127.0.0.1:9')"
    )
    shown = repr(
        ChatAI365VIP(
            model="gpt-4o",
            base_url="http://127.0.0.1:9",
            api_key="sk-1",
            temperature=0,
            metadata={"team": "a"},
        )
    )
    for part in ("model='gpt-4o'", "temperature=0", "metadata={'team': 'a'}"):
        assert part in shown
    assert "sk-1" not in shown


def _public_site_is_asked(model: ChatAI365VIP) -> list[str]:
    """Ask by way of a proxy that is not there; return what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            with pytest.raises(AI365VIPConnectionError):
                model.invoke("Hi")
    return [str(one.message) for one in caught]


def test_asking_the_public_site_by_default_is_warned_of_once() -> None:
    _settings.warn_of_the_public_site.cache_clear()  # another test may have asked there
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        proxy = f"http://127.0.0.1:{taken.getsockname()[1]}"
        (said,) = _public_site_is_asked(ChatAI365VIP(proxy=proxy, max_retries=0))
        meant = ChatAI365VIP(base_url="https://chat.ai365vip.com", proxy=proxy, max_retries=0)
        assert _public_site_is_asked(meant) == []
    assert "https://chat.ai365vip.com" in said
    assert "set base_url, or AI365VIP_BASE_URL" in said
