"""Files of JSON lines, cut into requests and checked line by line."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from ingest_helpers import lab, lines

from services.ingest import files
from services.ingest.files import Chunk, read_chunks
from services.runtime.errors import OperatorError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def sent(chunks: Iterator[Chunk]) -> list[int]:
    return [line.number for chunk in chunks for line in chunk.lines]


def rejected(chunks: Iterator[Chunk]) -> list[tuple[int, str, str]]:
    return [(r.line.number, r.errors[0].path, r.errors[0].code) for chunk in chunks for r in chunk.rejects]


def test_good_lines_go_out_as_they_stand_with_their_numbers(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + orjson.dumps(lab(1)) + b"\r\n\n  " + orjson.dumps(lab(2)) + b"  \n")
    (chunk,) = read_chunks(str(path))
    assert [line.number for line in chunk.lines] == [1, 3]
    assert chunk.body == lines(lab(1), lab(2))
    assert chunk.rejects == ()


def test_bad_lines_stay_here_with_path_and_code(path: Path) -> None:
    path.write_bytes(lines(lab(1), lab(2, unit="kg"), 3) + b'\n{"event_type"\n' + lines(lab(4)))
    assert sent(read_chunks(str(path))) == [1, 5]
    assert sorted(rejected(read_chunks(str(path)))) == [
        (2, "unit", "unit_not_convertible"),
        (3, "", "type"),
        (4, "", "json_malformed"),
    ]


def test_gzip_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(lines(lab(1), lab(2))))
    assert sent(read_chunks(str(path))) == [1, 2]


@pytest.mark.parametrize("block", [1, 7, 100, 1 << 18])
def test_where_blocks_end_does_not_matter(path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    path.write_bytes(lines(*(lab(n) for n in range(1, 6))))
    chunks = list(read_chunks(str(path)))
    assert sent(iter(chunks)) == [1, 2, 3, 4, 5]
    assert b"\n".join(chunk.body for chunk in chunks) == path.read_bytes()


@pytest.mark.parametrize(
    ("count", "requests"), [(0, [0]), (1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])]
)
def test_requests_have_a_limited_number_of_lines(
    path: Path, count: int, requests: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_LINES", 4)
    path.write_bytes(lines(*(lab(n) for n in range(1, count + 1))))
    assert [len(chunk.lines) for chunk in read_chunks(str(path))] == requests


def test_requests_have_a_limited_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 3 * len(lines(lab(1))) - 1)
    path.write_bytes(lines(*(lab(n) for n in range(1, 6))))
    assert [len(chunk.lines) for chunk in read_chunks(str(path))] == [2, 2, 1]


def test_the_bytes_of_all_chunks_are_those_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_LINES", 2)
    monkeypatch.setattr(files, "BLOCK_BYTES", 100)
    path.write_bytes(lines(*(lab(n) for n in range(1, 8))))
    assert sum(chunk.input_bytes for chunk in read_chunks(str(path))) == path.stat().st_size


@pytest.mark.parametrize("start", [b"[", b"\xef\xbb\xbf [", b"[\n"])
def test_a_json_array_is_told_apart(path: Path, start: bytes) -> None:
    path.write_bytes(start + orjson.dumps(lab()) + b"]")
    with pytest.raises(OperatorError, match="holds a JSON array"):
        list(read_chunks(str(path)))


def test_a_line_without_end_is_no_file_of_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 100)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1000)
    path.write_bytes(lines(lab()) + b"\n" + b"x" * 5000)
    with pytest.raises(OperatorError, match="line 2: is over"):
        list(read_chunks(str(path)))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"missing\.jsonl cannot be read"):
        list(read_chunks(str(tmp_path / "missing.jsonl")))
    with pytest.raises(OperatorError, match="cannot be read"):
        list(read_chunks(str(tmp_path)))


@pytest.mark.parametrize(
    "content",
    [b"plain text", gzip.compress(b"x" * 9000, mtime=0)[:-10], b"\x1f\x8b\x08garbage" * 9],
    ids=["not-compressed", "cut-short", "garbage"],
)
def test_damaged_gzip_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=r"events\.jsonl\.gz is damaged or not gzip"):
        list(read_chunks(str(path)))
