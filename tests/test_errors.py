"""The exception tree: LangChain's classes, plain data, pickling."""

import pickle

import pytest
from langchain_core.exceptions import LangChainException, ModelError

from langchain_ai365vip import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.AI365VIPError)
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_is_one_of_langchains_and_survives_pickling(
    cls: type[errors.AI365VIPError],
) -> None:
    error = cls("what", status_code=500, headers={"x": "y"}, retry_after=2.0, partial_text="p")
    assert isinstance(error, LangChainException)
    assert cls is errors.AI365VIPError or isinstance(error, ModelError)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert vars(copy) == vars(error)
    assert str(copy) == "what"


def test_the_tree_in_the_docstring_names_every_class() -> None:
    assert errors.__doc__ is not None
    for cls in CLASSES:
        assert cls.__name__ in errors.__doc__
