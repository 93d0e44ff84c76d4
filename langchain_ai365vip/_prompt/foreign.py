"""Blocks that the wire cannot carry, as a line of text in their place. Pure functions.

Checkpointers keep what any model and any tool wrote: pictures, searches that ran on a
provider's servers, cache marks. A history with them stays usable here, and shows where they
stood: a picture by its type and size (`[image/png, 24 KB: not shown, this model reads text]`),
a server-side call or result by its content in brief. Marks that say nothing are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from langchain_ai365vip._prompt.wording import to_json

Block = Mapping[str, Any]

_MARKS: Final = frozenset(
    {
        # Reasoning of earlier turns, which no other model can use; Bedrock's spelling last.
        *("reasoning", "thinking", "redacted_thinking", "reasoning_content", "reasoningContent"),
        # Where a prompt may be cached, what a signature belongs to, which tools a server has.
        *("cachePoint", "cache_point", "function_call_signature", "mcp_list_tools"),
    }
)
# What holds a picture, a sound or a file, by the word for it.
_MEDIA: Final[Mapping[str, str]] = {
    kind: word
    for word, kinds in (
        ("image", "image image_url input_image image_generation_call computer_screenshot"),
        ("audio", "audio input_audio"),
        ("video", "video video_url"),
        ("file", "file input_file document media container_upload text-plain"),
    )
    for kind in kinds.split()
}
_SERVER_SIDE: Final = re.compile(
    r"(?:\w+_)?tool_(?:use|call|result)|\w+_call(?:_chunk|_output)?|mcp_approval_\w+"
    r"|executable_code|code_execution_result"
)
# In server-side blocks: what only their provider can read.
_BOOKKEEPING: Final = frozenset(
    {
        *("type", "id", "index", "status", "caller", "container_id", "page_age"),
        *("tool_use_id", "tool_call_id", "call_id", "extras", "signature"),
        *("encrypted_content", "encrypted_index", "encrypted_stdout"),
    }
)
_BRIEF: Final = 1_000
_MIME: Final = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}")
_DATA_URL: Final = re.compile(r"data:([\w.+/-]*)[^,]{0,100},")


def unwrapped(block: Block) -> Block:
    """Return a block in a form that has a type: what v1 and Bedrock wrap.

    Args:
        block: A content block of any provider.
    """
    if block.get("type") == "non_standard" and isinstance(block.get("value"), Mapping):
        return unwrapped(block["value"])
    if "type" in block or len(block) != 1:
        return block
    [(key, value)] = block.items()
    if key == "toolUse" and isinstance(value, Mapping):
        return {**value, "type": "tool_use", "id": value.get("toolUseId")}
    if key == "toolResult" and isinstance(value, Mapping):
        error = value.get("status") == "error"
        called = value.get("toolUseId")
        return {**value, "type": "tool_result", "tool_use_id": called, "is_error": error}
    if key == "guardContent" and isinstance(value, Mapping):
        inner = value.get("text")
        return unwrapped(inner if isinstance(inner, Mapping) else value)
    if key in _MARKS or (key in _MEDIA and isinstance(value, Mapping)):
        return {"type": key, key: value}
    return block


def is_mark(block: Block) -> bool:
    """Say whether a block has nothing to say to another model.

    Args:
        block: An unwrapped block.
    """
    return block.get("type") in _MARKS


def line_for(block: Block) -> str:
    """Write the line that stands in a block's place.

    Args:
        block: An unwrapped block.
    """
    kind = str(block.get("type") or "")
    if kind in _MEDIA:
        return _not_shown(_media(block, _MEDIA[kind]))
    if _SERVER_SIDE.fullmatch(kind):
        return _told(block, kind)
    return _not_shown(f"a block of type {to_json(kind[:60])}" if kind else "a block without a type")


def _not_shown(what: str) -> str:
    return f"[{what}: not shown, this model reads text]"


def _told(block: Block, kind: str) -> str:
    """Tell a server-side call or result in brief: `[web_search: {"query": "x"}]`."""
    name = block.get("name")
    named = name if isinstance(name, str) else kind
    text = to_json(_without_bookkeeping({k: v for k, v in block.items() if k != "name"}))
    if len(text) > _BRIEF:
        text = f"{text[:_BRIEF]}… ({len(text):,} characters)"
    return f"[{to_json(named[:60])[1:-1]}: {text}]"


def _without_bookkeeping(value: Any) -> Any:
    if isinstance(value, Mapping):
        kind = value.get("type")
        word = _MEDIA.get(str(kind), "file")
        # What code drew, a screenshot, a page that was fetched; a document may be text.
        if kind == "base64" or word != "file":
            return _not_shown(_media(value, word))
        return {
            key: _without_bookkeeping(each)
            for key, each in value.items()
            if key not in _BOOKKEEPING and each is not None
        }
    if isinstance(value, list | tuple):
        return [_without_bookkeeping(each) for each in value]
    return "…" if isinstance(value, bytes) else value


def _media(block: Block, word: str) -> str:
    """Describe a picture, sound or file by type and size; no name and no address of it."""
    parts = list(_parts(block))
    kind = next(filter(None, (_mime(part, word) for part in parts)), word)
    size = next(filter(None, map(_size, parts)), None)
    return kind if size is None else f"{kind}, {_readable(size)}"


def _parts(block: Block) -> Iterator[Block]:
    """Yield a block and what is in it, for each provider nests the data elsewhere."""
    yield block
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from _parts(value)
        elif key in ("image_url", "video_url"):
            yield {"url": value}


def _mime(part: Block, word: str) -> str | None:
    given = part.get("mime_type") or part.get("media_type")
    if isinstance(given, str) and _MIME.fullmatch(given):
        return given
    for value in (part.get("url"), part.get("file_data")):
        found = _DATA_URL.match(value) if isinstance(value, str) else None
        if found and _MIME.fullmatch(found[1]):
            return found[1]
    form = part.get("format")
    named = f"{word}/{form}" if isinstance(form, str) else ""
    return named if _MIME.fullmatch(named) else None


def _size(part: Block) -> int | None:
    """Return how many bytes of data a block holds, where it holds them."""
    for key in ("base64", "data", "bytes", "file_data", "result", "url"):
        value = part.get(key)
        if isinstance(value, bytes):
            return len(value)
        if not isinstance(value, str):
            continue
        url = _DATA_URL.match(value)
        if url or key != "url":
            return (len(value) - (url.end() if url else 0)) * 3 // 4
    return None


def _readable(size: int) -> str:
    if size < 1_000:
        return f"{size} bytes"
    thousands = round(size / 1_000)
    return f"{thousands} KB" if thousands < 1_000 else f"{round(thousands / 1_000)} MB"
