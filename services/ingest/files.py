"""Files of JSON lines, checked line by line as ingest would, and cut into requests."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from schemas import Refusal
from services.ingest.admission import admit
from services.ingest.body import MAX_REQUEST_BYTES, Item
from services.runtime.errors import OperatorError

STDIN = "-"
BLOCK_BYTES = 256 << 10
CHUNK_LINES = 1000
CHUNK_BYTES = MAX_REQUEST_BYTES // 2
MAX_LINE_BYTES = 4 << 20
"""Longer than any event may be; a file with longer lines is something else."""


class Line(NamedTuple):
    """One line of a file: its number from 1, and its bytes without white space around them."""

    file: str
    number: int
    text: bytes


class Reject(NamedTuple):
    """A line that is not taken, and why."""

    line: Line
    errors: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The lines of one request, those refused here already, and how many bytes of the input they were."""

    lines: tuple[Line, ...]
    rejects: tuple[Reject, ...]
    input_bytes: int

    @property
    def body(self) -> bytes:
        """The request's body."""
        return b"\n".join(line.text for line in self.lines)


def read_chunks(path: str) -> Iterator[Chunk]:
    """Check a file of JSON lines (`-` is standard input, `.gz` is unpacked) and cut it into requests.

    A pipe is not waited for: what has come goes out. Raises OperatorError for what cannot be read, or is not
    a file of lines.
    """
    name = "standard input" if path == STDIN else path
    with _opened(path, name) as (read, position):
        waiting: list[Line] = []
        size, done = 0, 0
        for lines in _lines(read, name):
            for line in lines:
                if len(waiting) == CHUNK_LINES or size + len(line.text) > CHUNK_BYTES:
                    yield _checked(waiting, position() - done)
                    waiting, size, done = [], 0, position()
                waiting.append(line)
                size += len(line.text) + 1
            if path == STDIN:
                yield _checked(waiting, 0)
                waiting, size = [], 0
        yield _checked(waiting, position() - done)


def _checked(lines: list[Line], input_bytes: int) -> Chunk:
    rejects, items = [], []
    for index, line in enumerate(lines):
        try:
            items.append(Item(index, line.text, orjson.loads(line.text)))
        except orjson.JSONDecodeError:
            reason = Refusal("", "json_malformed", "is not one JSON object in UTF-8")
            rejects.append(Reject(line, (reason,)))
    verdicts = admit(items, lambda _site: True)
    good = []
    for verdict in verdicts:
        line = lines[verdict.item.position]
        if verdict.status == "refused":
            rejects.append(Reject(line, verdict.refusals))
        else:
            good.append(line)
    return Chunk(tuple(good), tuple(rejects), input_bytes)


def _lines(read: Callable[[], bytes], name: str) -> Iterator[list[Line]]:
    """The filled lines, in lists as the blocks come."""
    rest, number = b"", 1
    while block := read():
        *texts, rest = (rest + block).split(b"\n")
        if number == 1 and texts:
            texts[0] = _first(texts[0], name)
        yield _numbered(texts, number, name)
        number += len(texts)
        if len(rest) > MAX_LINE_BYTES:
            raise OperatorError(
                f"{name}, line {number}: is over {MAX_LINE_BYTES >> 20} MiB long; give files of JSON lines, "
                "one event a line"
            )
    yield _numbered([_first(rest, name) if number == 1 else rest], number, name)


def _numbered(texts: list[bytes], first: int, name: str) -> list[Line]:
    stripped = ((number, text.strip()) for number, text in enumerate(texts, first))
    return [Line(name, number, text) for number, text in stripped if text]


def _first(text: bytes, name: str) -> bytes:
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        raise OperatorError(f"{name} holds a JSON array: make lines of it first, with `jq -c '.[]'`")
    return text


@contextmanager
def _opened(path: str, name: str) -> Iterator[tuple[Callable[[], bytes], Callable[[], int]]]:
    """How to read the next block of a file, and how far into the file that has come."""
    try:
        if path == STDIN:
            # Unbuffered: a block is what has come, and Ctrl-C finds no buffer locked by a waiting thread.
            with open(0, "rb", buffering=0, closefd=False) as pipe:
                yield lambda: pipe.read(BLOCK_BYTES), lambda: 0
            return
        with Path(path).open("rb") as file:
            if path.endswith(".gz"):
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield lambda: unpacked.read1(BLOCK_BYTES), file.tell
            else:
                yield lambda: file.read(BLOCK_BYTES), file.tell
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise OperatorError(f"{name} is damaged or not gzip: get a whole copy of it and send that") from None
    except OSError as error:
        raise OperatorError(f"{name} cannot be read: {error.strerror or 'input error'}") from None
