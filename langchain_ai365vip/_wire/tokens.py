"""Counting tokens: exactly, by a safe upper bound, or by an estimate. No LangChain.

Exact counting needs the extra `tokens` (bpe-openai, whose vocabularies come inside its wheel) and
a model whose vocabulary is known. The first use of a vocabulary loads it from disk (about half a
second): who must not block, as on an event loop, passes `may_load=False`, and has it only once
somebody has called `load` on another thread.
"""

from __future__ import annotations

import importlib
import math
import re
import string
import threading
import warnings
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Final, Literal

from langchain_ai365vip._wire.facts import WireMessage

Encoding = Literal["cl100k_base", "o200k_base"]
Count = Callable[[str], int]
Encode = Callable[[str], "list[int]"]

# The reference server trims history by this one, whatever the model.
SERVER_ENCODING: Final = "cl100k_base"

# OpenAI's chat format spends three tokens and the role's name on each message, and three
# on opening the reply.
_PER_MESSAGE: Final = 4
_PER_REPLY: Final = 3

# A router's or fine-tuning's prefix (`openai/`, `ft:`) may stand before the name.
_O200K: Final = re.compile(
    r"(?:.*[/:])?(?:(?:chat)?gpt-4o|gpt-(?:4\.[15]|5|oss)|o[134](?=-|$))(?![0-9])"
)
_CL100K: Final = re.compile(r"(?:.*[/:])?gpt-(?:3\.5|35|4)(?![0-9.o])")


def encoding_of(model: str) -> Encoding | None:
    """Return the vocabulary of one of OpenAI's models; `None` for any other model."""
    if _O200K.match(model):
        return "o200k_base"
    return "cl100k_base" if _CL100K.match(model) else None


# ---------------------------------------------------------------- exact

_lock = threading.Lock()
_encoders: dict[str, Encode | None] = {}


def load(encoding: Encoding = SERVER_ENCODING) -> bool:
    """Read a vocabulary from disk, once per process; blocks, and may be called from any thread.

    Returns:
        Whether it is at hand: `False` without the extra `tokens`.
    """
    with _lock:
        if encoding not in _encoders:
            _encoders[encoding] = _read(encoding)
        return _encoders[encoding] is not None


def _read(encoding: Encoding) -> Encode | None:
    # It opens its data by a function that is deprecated on 3.11 and 3.12. Not for a moment
    # only (catch_warnings): that would mix up the filters of other threads.
    warnings.filterwarnings(
        "ignore", "open_binary is deprecated", DeprecationWarning, r"bpe_openai\.registry"
    )
    try:
        library = importlib.import_module("bpe_openai")
    except ImportError:
        return None
    return partial(_encode_in_pieces, library.get_encoding(encoding).encode)


def encoder(encoding: Encoding, *, may_load: bool = True) -> Encode | None:
    """Return the function that turns text into token ids, or `None` if it is not at hand."""
    if may_load:
        load(encoding)
    return _encoders.get(encoding)


def exact_counter(model: str, *, may_load: bool = True) -> Count | None:
    """Return what counts this model's tokens exactly, or `None` if nothing at hand does."""
    encoding = encoding_of(model)
    return None if encoding is None else _counter(encoding, may_load)


def server_counter() -> Count | None:
    """Return what counts as the reference server does when it trims, or `None`."""
    return _counter(SERVER_ENCODING, may_load=True)


def _counter(encoding: Encoding, may_load: bool) -> Count | None:
    encode = encoder(encoding, may_load=may_load)
    return None if encode is None else partial(_count, encode)


def _count(encode: Encode, text: str) -> int:
    return len(encode(text))


# bpe-openai refuses texts of a million characters or more than 200,000 tokens; this many
# characters are never more tokens than that (at most one per UTF-8 byte).
_PIECE: Final = 50_000
# Between a letter or digit and a space or line feed both vocabularies always divide.
_DIVIDE: Final = re.compile(r"(?<=[^\W_])(?=[ \n])")


def _encode_in_pieces(encode: Callable[..., list[int]], text: str) -> list[int]:
    if len(text) <= _PIECE:
        return encode(text, disallowed_special=())
    return [id for piece in pieces(text) for id in encode(piece, disallowed_special=())]


def pieces(text: str, size: int = _PIECE) -> Iterator[str]:
    """Cut a text where that does not change its tokens.

    Where there is no such place in half a piece (a blob without a space) the cut may
    change the count by one or two.
    """
    start = 0
    while len(text) - start > size:
        places = list(_DIVIDE.finditer(text, start + (size + 1) // 2, start + size + 1))
        end = places[-1].start() if places else start + size
        yield text[start:end]
        start = end
    yield text[start:]


# ---------------------------------------------------------------- without a vocabulary


def utf8_length(text: str) -> int:
    """Count UTF-8 bytes: never fewer than tokens, since a token is at least one byte."""
    return len(text.encode("utf-8", "surrogatepass"))


# Tokens per character, fitted to translated messages of 48 languages, English prose, Python,
# C, JSON and HTML: (first code point, in cl100k_base, in o200k_base).
_WEIGHTS: Final = (
    (0x80, 2.8, 1.8),  # accented Latin, which breaks up the word around it
    (0x250, 1.05, 0.42),  # Greek
    (0x400, 0.59, 0.36),  # Cyrillic
    (0x530, 1.5, 0.43),  # Armenian, Hebrew
    (0x600, 0.86, 0.39),  # Arabic
    (0x800, 1.4, 0.43),  # India's scripts, Thai, Georgian
    (0x1E00, 0.65, 0.1),  # Vietnamese
    (0x1F00, 0.5, 0.5),  # typographic signs
    (0x2E80, 1.08, 0.77),  # Chinese, Japanese
    (0xAC00, 1.2, 0.78),  # Korean
    (0xD7B0, 1.1, 1.0),  # full-width forms
    (0x10000, 2.5, 1.3),  # emoji
)
_STARTS: Final = [start for start, *_ in _WEIGHTS]
_COLUMN: Final[Mapping[str, int]] = {"cl100k_base": 1, "o200k_base": 2}
_LETTERS: Final = string.ascii_letters.encode()
_DIGITS: Final = string.digits.encode()
_SIGNS: Final = string.punctuation.encode()
_ASCII_RUN: Final = re.compile(r"[\x00-\x7f]+")


def estimate_tokens(text: str, encoding: Encoding = SERVER_ENCODING) -> int:
    """Estimate tokens from the kinds of characters; linear, and never falls as text grows.

    Measured against exact counts, each text in one sum: on 63 kinds of text that it was
    fitted to 13 % off on average (cl100k_base) and 10 % (o200k_base), 11 % on 17 others.
    English, code and markup were within 11 %, the worst language 39 % (Thai, cl100k_base);
    random letters (base64) come out at less than half.
    """
    ascii_text = text.encode("ascii", "ignore")
    tokens = _ascii_tokens(ascii_text)
    if len(ascii_text) < len(text):
        for character, number in Counter(_ASCII_RUN.sub("", text)).items():
            tokens += number * _weight(character, encoding)
    return math.ceil(tokens)


def _ascii_tokens(text: bytes) -> float:
    size = len(text)
    letters = size - len(text.translate(None, _LETTERS))
    digits = size - len(text.translate(None, _DIGITS))
    signs = size - len(text.translate(None, _SIGNS))
    lines = text.count(b"\n")
    others = size - letters - digits - signs - lines
    return 0.235 * letters + 0.63 * digits + 0.48 * signs + 1.2 * lines + 0.02 * others


@lru_cache(maxsize=4096)
def _weight(character: str, encoding: Encoding) -> float:
    row = _WEIGHTS[bisect(_STARTS, ord(character)) - 1]
    return row[_COLUMN[encoding]]


def best_counter(model: str, *, may_load: bool = True) -> Count:
    """Return the exact counter if it is at hand, else the estimate for that model."""
    return exact_counter(model, may_load=may_load) or partial(
        estimate_tokens, encoding=encoding_of(model) or SERVER_ENCODING
    )


def token_ids(text: str, model: str, *, may_load: bool = True) -> list[int]:
    """Return a text's token ids.

    They are the model's own for OpenAI's models with the extra `tokens`; for other models
    with that extra, those of cl100k_base; without it (or before it is loaded) the UTF-8
    bytes, which are the tokens of a vocabulary that merges nothing.
    """
    encode = encoder(encoding_of(model) or SERVER_ENCODING, may_load=may_load)
    return list(text.encode("utf-8", "surrogatepass")) if encode is None else encode(text)


def count_wire_tokens(prompt: str, turns: Iterable[WireMessage], count: Count) -> int:
    """Count what the upstream model gets: prompt and turns, framed as OpenAI's models see them."""
    texts = [prompt, *(turn["content"] for turn in turns)]
    return sum(map(count, texts)) + _PER_MESSAGE * len(texts) + _PER_REPLY
