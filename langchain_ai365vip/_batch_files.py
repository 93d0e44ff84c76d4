"""The files of bulk work: an input read twice, and an output that one run at a time extends."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Final

MEND: Final = "Mend the input and retry the failed rows."
ASKING: Final = ("prompt", "messages")
_BEGINNING: Final = b'{"id": '  # of every line that `append` writes
_ROW_KEYS: Final = frozenset({"id", "index", "output", "error"})
_BOM: Final = b"\xef\xbb\xbf"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# JSON leaves them as they are, `str.splitlines` takes them for the ends of lines.
_LINE_ENDS: Final = {0x85: r"\u0085", 0x2028: r"\u2028", 0x2029: r"\u2029"}

Row = dict[str, Any]


@contextmanager
def opened(source: Path, target: Path) -> Iterator[Files]:
    """Open both files of a run, the output for this run alone.

    Args:
        source: The input; `-` is the standard input.
        target: The output.
    """
    if target.exists() and not target.is_file():
        raise ValueError(
            f"{target} is no regular file, and a run must find there what it has done: name a "
            "file for the answers."
        )
    if source != Path("-"):
        source.stat()  # Nothing is made for an input that is missing.
    target = target.resolve()  # A symbolic link stays one.
    with closing(Files(source, target)) as files, _input(source) as files.input:
        yield files


class Files:
    """The input of a run, and the output, which this run alone extends.

    Args:
        source: What messages call the input.
        target: The output, no symbolic link; made if it is missing.
    """

    input: BinaryIO

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self._new = target.with_name(f".{target.name}.new")
        self._output = _locked(target)
        with suppress(OSError):
            self._new.unlink()  # of a killed run

    def close(self) -> None:
        """Let other runs have the output."""
        self._output.close()

    def begin(self, *, retry_failed: bool) -> tuple[int, int]:
        """Find out what is to be done; return how many rows there are, and how many are done.

        Args:
            retry_failed: Take the rows that failed out of the output.
        """
        failed = self._read()
        if retry_failed:
            for key in failed:
                del self._done[key]
        self._check()
        if retry_failed and (again := failed & self._lines.keys()):
            self._rewrite(lambda row: None if "error" in row and key_of(row) in again else 0)
        return len(self._lines), len(self._done.keys() & self._lines.keys())

    def todo(self) -> Iterator[Row]:
        """Yield the rows that are not done."""
        return (row for _, row in _rows(self.input) if key_of(row) not in self._done)

    def append(self, row: Row) -> None:
        """Write an output row as one line, whole or not at all.

        Args:
            row: The row.
        """
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
        self._rewrite(lambda row: self._lines.get(key_of(row), sys.maxsize))

    def _read(self) -> set[str]:
        """Note the output's rows, and take away half a line; return which ones failed."""
        self._done: dict[str, Any] = {}
        failed = set()
        end = 0
        with self._target.open("rb") as file:
            for number, line in enumerate(file, start=1):
                cut = not line.endswith(b"\n")
                if cut and line.startswith(_BEGINNING[: len(line)]):
                    self._output.truncate(end)
                    break
                row = _written_row(line, f"{self._target}, line {number}")
                self._done[key_of(row)] = row.get("digest")
                if "error" in row:
                    failed.add(key_of(row))
                end += len(line)
                if cut:
                    self._output.write(b"\n")
                    break
        return failed

    def _check(self) -> None:
        """Note the rows' lines; refuse an input that would give a row another one's answer."""
        self._lines: dict[str, int] = {}
        for number, row in _rows(self.input):
            where, key = f"{self._source}, line {number}", key_of(row)
            if key in self._lines:
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

    def _rewrite(self, place: Callable[[Row], int | None]) -> None:
        """Sort the output, without the rows that have no place, in a file that replaces it."""
        file = _locked(self._new)  # before others can see it
        try:
            shutil.copymode(self._target, self._new)
            with _room(self._target), self._target.open("rb") as old:
                found, offset = [], 0
                for line in old:
                    if (at := place(json.loads(line))) is not None:
                        found.append((at, offset))
                    offset += len(line)
                with open(file.fileno(), "wb", closefd=False) as new:
                    for _, offset in sorted(found):
                        old.seek(offset)
                        new.write(old.readline())
                os.fsync(file.fileno())
            self._new.replace(self._target)
        except BaseException:
            file.close()
            self._new.unlink(missing_ok=True)
            raise
        self._output.close()
        self._output = file


# -- rows in ---------------------------------------------------------------------------------


@contextmanager
def _input(source: Path) -> Iterator[BinaryIO]:
    """Open the input; what can be read only once is copied to a temporary file."""
    stdin = source == Path("-")
    if not stdin and source.is_file():
        with source.open("rb") as file:
            yield file
        return
    # Unbuffered: a thread that waits in a buffer's lock spoils the end of the interpreter.
    once = open(0 if stdin else source, "rb", buffering=0, closefd=not stdin)  # noqa: SIM115
    with once, tempfile.TemporaryFile() as file:
        with _room(Path(tempfile.gettempdir())):
            shutil.copyfileobj(once, file)
            file.flush()
        yield file


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
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as exc:
        why = getattr(exc, "msg", exc)  # without "line 1", which would be of this line
        data = {"prompt": ValueError(f"Line {number} is not JSON in UTF-8: {why}. {MEND}")}
    if isinstance(data, str):
        data = {"prompt": data}
    elif not isinstance(data, dict):
        problem = f"Line {number} is neither a JSON string nor a JSON object. {MEND}"
        data = {"prompt": ValueError(problem)}
    asks = {name: data[name] for name in ASKING if name in data}
    if data.get("id") is not None:
        return {"id": data["id"], "index": index, **asks}
    text = json.dumps(asks, default=lambda _: None)
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return {"id": index, "index": index, "digest": digest, **asks}


def key_of(row: Row) -> str:
    """Return what tells a row from others; 1 and "1" are two ids."""
    return json.dumps(row["id"], sort_keys=True)


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


def _written_row(line: bytes, where: str) -> Row:
    """Read a row of an earlier run; anything else in the file is somebody's, and stays."""
    with suppress(ValueError, RecursionError):
        row = json.loads(line)
        if isinstance(row, dict) and {"id", "index"} <= row.keys() & _ROW_KEYS != {"id", "index"}:
            return row
    raise ValueError(
        f"{where}: this is no row of an earlier run, so the file is left as it is. Name another "
        "file for the answers."
    )


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
