"""The files of bulk work: an input read twice, and an output that one run at a time extends."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

MEND: Final = "Mend the input and retry the failed rows."
ASKING: Final = ("prompt", "messages")
_BEGINNING: Final = b'{"id": '  # of every line that `append` writes
_ROW_KEYS: Final = frozenset({"id", "index", "output", "error"})
_DEEPEST: Final = 99
_BOM: Final = b"\xef\xbb\xbf"
# How a file begins that is in another encoding, the longer marks first.
_MARKS: Final = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_BEGINNING_OF_A_FILE: Final = 64
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# JSON leaves them as they are, `str.splitlines` takes them for the ends of lines.
_LINE_ENDS: Final = {0x85: r"\u0085", 0x2028: r"\u2028", 0x2029: r"\u2029"}

Row = dict[str, Any]


@contextmanager
def opened(source: str, target: str) -> Iterator[BinaryIO]:
    """Open the input, `-` for the standard input, once nothing speaks against the output.

    What can be read only once is copied to a temporary file.
    """
    output, stdin = Path(target), source == "-"
    if target == "-" or (output.exists() and not output.is_file()):
        name = "The standard output" if target == "-" else target
        raise ValueError(
            f"{name} is no regular file, and a run must find there what it has done: name a "
            "file for the answers."
        )
    if output.exists() and os.path.samestat(os.stat(0 if stdin else source), output.stat()):
        raise ValueError(f"{target} is the input, too: name another file for the answers.")
    if not stdin and Path(source).is_file():
        with open(source, "rb") as file:
            _refuse_other_formats(file, source)
            yield file
        return
    # Unbuffered: a thread that waits in a buffer's lock spoils the end of the interpreter.
    once = open(0 if stdin else source, "rb", buffering=0, closefd=not stdin)  # noqa: SIM115
    name = "The standard input" if stdin else source
    with once, _temporary(name) as file:
        with _room(Path(tempfile.gettempdir())):
            shutil.copyfileobj(once, file)
            file.flush()
        _refuse_other_formats(file, name)
        yield file


def _temporary(name: str) -> BinaryIO:
    try:
        return cast(BinaryIO, tempfile.TemporaryFile())
    except OSError as exc:
        raise OSError(
            f"{name} can be read only once, so it is copied to a temporary file, and none can be "
            f"made ({exc.strerror}). Set TMPDIR to a directory that can be written to."
        ) from exc


def _refuse_other_formats(file: BinaryIO, name: str) -> None:
    file.seek(0)
    start = file.readline(_BEGINNING_OF_A_FILE)
    found = next((each for mark, each in _MARKS.items() if start.startswith(mark)), None)
    if found is None and b"\0" in start:  # no JSON begins so
        found = "UTF-16"
    if found is not None:
        raise ValueError(
            f"{name} is in {found}, and rows are JSON in UTF-8. Save it as UTF-8 (in PowerShell: "
            "`... | Set-Content -Encoding utf8 FILE` instead of `>`)."
        )
    if start.removeprefix(_BOM).strip() == b"[":  # some of its lines may look like rows
        raise ValueError(_no_rows(name, "Line 1 begins a list."))


def _no_rows(name: str, why: str) -> str:
    return (
        f"{name} holds no rows. Rows are JSON, one on each line: a text in quotes, or an object "
        "with a prompt or messages; CSV, or JSON over several lines, must be converted. " + why
    )


class Begun(NamedTuple):
    """How many rows there are and were answered before, and which failed before for good."""

    total: int
    answered: int
    failed: list[Any]


class Files:
    """The input of a run, and the output, which this run alone extends."""

    def __init__(self, source: str, rows: BinaryIO, target: str) -> None:
        self._source = source
        self._input = rows
        self._target = Path(target).resolve()  # A symbolic link stays one.
        self._new = self._target.with_name(f".{self._target.name}.new")
        self._output = _locked(self._target)
        with suppress(OSError):
            self._new.unlink()  # of a killed run

    def close(self) -> None:
        """Let other runs have the output."""
        self._output.close()

    def begin(self, *, retry_failed: bool, ordered: bool) -> Begun:
        """Find out what is to be done.

        Rows are asked for again whose failure may pass, with `retry_failed` all that failed;
        and it is now that a run learns whether it can put its output in order.
        """
        failed = self._read()
        again = {key for key, retryable in failed.items() if retryable or retry_failed}
        for key in again:
            del self._done[key]
        self._check()
        if ordered or not again.isdisjoint(self._lines):
            self._rewrite(ordered=ordered, without=again & self._lines.keys())
        done = self._lines.keys() & self._done.keys()
        still = [json.loads(key) for key in self._lines if key in failed and key not in again]
        return Begun(len(self._lines), len(done) - len(still), still)

    def todo(self) -> Iterator[Row]:
        """Yield the rows that are not done."""
        for number, row in _rows(self._input):
            key = key_of(row)
            if self._lines.get(key) == number and key not in self._done:  # else it is new
                yield row

    def append(self, row: Row) -> None:
        """Write an output row as one line, whole or not at all."""
        rest = line = json_of(row).encode() + b"\n"
        with _room(self._target):
            try:
                while rest:  # more than once on a full disk only, which then says so
                    rest = rest[self._output.write(rest) :]
            except OSError:
                self._output.truncate(self._output.seek(0, os.SEEK_END) - len(line) + len(rest))
                raise

    def put_in_order(self) -> None:
        """Bring the output into the input's order; rows not in the input come last."""
        self._rewrite(ordered=True)

    def _read(self) -> dict[str, bool]:
        """Note the output's rows, and take away half a line; return what failed, if for good."""
        self._done: dict[str, Any] = {}
        failed: dict[str, bool] = {}
        end = 0
        with self._target.open("rb") as file:
            for number, line in enumerate(file, start=1):
                cut = not line.endswith(b"\n")
                if cut and _is_half(line):
                    self._output.truncate(end)
                    break
                end += len(line)
                if line.strip():
                    row = _written_row(line, f"{self._target}, line {number}")
                    key = key_of(row)
                    if "error" not in row:
                        failed.pop(key, None)
                    elif key not in self._done or key in failed:
                        failed[key] = _may_pass(row["error"])
                    self._done[key] = row.get("digest")
                if cut:
                    self._output.write(b"\n")
        return failed

    def _check(self) -> None:
        """Note the rows' lines; refuse an input that would give a row another one's answer."""
        self._lines: dict[str, int] = {}
        wrong: list[ValueError] = []
        for number, row in _rows(self._input):
            where, key = f"{self._source}, line {number}", key_of(row)
            if key in self._lines:
                self._check_json(self._lines[key], number)
                raise ValueError(
                    f"{where}: the id {row['id']!r} is that of line {self._lines[key]}, too (a "
                    "row without one has its place, from 0). Give every row an id of its own, or "
                    "none an id."
                )
            if "digest" in row and self._done.get(key) not in (None, row["digest"]):
                raise ValueError(
                    f"{where}: the row asks something else than row {key} of the output did, and "
                    "rows without an id are known by their place. Name another file for the "
                    "answers, or give rows ids. If it failed and is mended, retry the failed rows."
                )
            self._lines[key] = number
            wrong += [row["prompt"]] if isinstance(row.get("prompt"), ValueError) else []
        if wrong and len(wrong) == len(self._lines):
            why = str(wrong[0]).removesuffix(MEND).rstrip()
            raise ValueError(_no_rows(self._source, why))

    def _check_json(self, *numbers: int) -> None:
        """Refuse lines that share an id because one is broken, and so has its place as its id."""
        for number, row in _rows(self._input):
            if number in numbers and isinstance(row.get("prompt"), ValueError):
                raise ValueError(f"{self._source}: {row['prompt']}")

    def _rewrite(self, *, ordered: bool, without: Set[str] = frozenset()) -> None:
        """Bring the output into order, without some failed rows, in a file that replaces it."""

        def place(row: Row) -> int | None:
            if "error" in row and key_of(row) in without:
                return None
            return self._lines.get(key_of(row), sys.maxsize) if ordered else 0

        with _replacing(self._target):
            file = _locked(self._new)  # before others can see it
        try:
            shutil.copymode(self._target, self._new)
            with (
                _room(self._target),
                self._target.open("rb") as old,
                open(file.fileno(), "wb", closefd=False) as new,
            ):
                _copy_rows(old, new, place)
                new.flush()
                os.fsync(file.fileno())
            with _replacing(self._target):
                self._new.replace(self._target)
        except BaseException:
            file.close()
            self._new.unlink(missing_ok=True)
            raise
        self._output.close()
        self._output = file


def _copy_rows(old: BinaryIO, new: BinaryIO, place: Callable[[Row], int | None]) -> None:
    """Copy the rows that have a place, in its order; only places are kept in memory."""
    found, offset = [], 0
    for line in old:
        if line.strip() and (at := place(json.loads(line))) is not None:
            found.append((at, offset))
        offset += len(line)
    for _, offset in sorted(found):
        old.seek(offset)
        new.write(old.readline())


# -- rows in ---------------------------------------------------------------------------------


def _rows(file: BinaryIO) -> Iterator[tuple[int, Row]]:
    """Yield line numbers and rows, each with its id and place; blank lines do not count."""
    file.seek(0)
    index = 0
    for number, line in enumerate(file, start=1):
        if line := (line.removeprefix(_BOM) if number == 1 else line).strip():
            yield number, _row(line, number, index)
            index += 1


def _row(line: bytes, number: int, index: int) -> Row:
    """Read a row; what is wrong with it stands in the place of its prompt, as no JSON can."""
    place: Row = {"id": index, "index": index}
    try:
        data = json.loads(line)
        data = {"prompt": data} if isinstance(data, str) else data
        if isinstance(data, dict):
            asks = {name: data[name] for name in ASKING if name in data}
            if data.get("id") is None:
                return {**place, "digest": _digest(asks), **asks}
            row = {**place, "id": data["id"], **asks}
            key = key_of(row)
            if not isinstance(row["id"], str) and key.count("[") + key.count("{") > _DEEPEST:
                raise RecursionError("its id is nested too deep")
            return row
        problem = "is neither a JSON string nor a JSON object"
    except (ValueError, RecursionError) as exc:
        # without "line 1", which would be of this line
        problem = f"is not JSON in UTF-8: {getattr(exc, 'msg', exc)}"
    wrong = ValueError(f"Line {number} {problem}. {MEND}")
    return {**place, "digest": _digest({"prompt": None}), "prompt": wrong}


def _digest(asks: Row) -> str:
    text = json.dumps(asks, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def key_of(row: Row) -> str:
    """Return what tells a row from others; 1 and "1" are two ids."""
    identity = row["index"] if row["id"] is None else row["id"]
    return json.dumps(identity, sort_keys=True, allow_nan=False)


# -- rows out --------------------------------------------------------------------------------


def json_of(row: Row) -> str:
    """Return a row as one line of JSON, whatever a reader takes for the end of a line."""
    text = json.dumps(row, ensure_ascii=False, default=str).translate(_LINE_ENDS)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        text = json.dumps(row, default=str)
    return text


def _locked(path: Path) -> FileIO:
    """Open a file to extend it, and keep every other run away from it until it is closed."""
    while True:
        file = path.open("ab+", buffering=0)
        try:
            _lock(file, path)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # Another run has just put a new file in its place.


def _lock(file: FileIO, path: Path) -> None:
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(
            f"{path}: another run is writing its answers there. Let it end, or name another file."
        ) from None
    except (ImportError, OSError):
        pass  # Windows, or a file system without locks.


def _is_half(line: bytes) -> bool:
    """Say whether this is what a kill left of a line; a whole line lacks its end only."""
    if line.startswith(_BEGINNING[: len(line)]):
        try:
            json.loads(line)
        except (ValueError, RecursionError):
            return True
    return False


def _written_row(line: bytes, where: str) -> Row:
    """Read a row of an earlier run; anything else in the file is somebody's, and stays."""
    with suppress(ValueError, RecursionError):
        row = json.loads(line)
        if isinstance(row, dict) and {"id", "index"} <= row.keys() & _ROW_KEYS != {"id", "index"}:
            key_of(row)
            return row
    raise ValueError(
        f"{where}: this is no row of an earlier run, so the file is left as it is. Name another "
        "file for the answers."
    )


def _may_pass(error: Any) -> bool:
    return isinstance(error, dict) and error.get("is_retryable") is True


@contextmanager
def _replacing(path: Path) -> Iterator[None]:
    """Say that a file cannot be replaced by a new one, and what to do."""
    try:
        yield
    except BlockingIOError:  # another run's
        raise
    except OSError as exc:
        raise OSError(
            f"{path}: no new file can take its place ({exc.strerror}), which is how rows are put "
            "in order and failed ones taken out. Make its directory writable, in a container "
            "mount the directory rather than the file, or name another file for the answers."
        ) from exc


@contextmanager
def _room(path: Path) -> Iterator[None]:
    """Say which disk is full, and what to do."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in _FULL:
            raise
        raise OSError(
            f"{path}: {exc.strerror}. Make room and run the same again: it goes on from here."
        ) from exc
