"""One query in a process of its own: reads a request on standard input, answers on standard output, ends.

What is asked is not trusted: the process may use so much memory, processor time and disk, and has no secrets
in its environment. Its parent kills it when its time is over.
"""

import json
import os
import resource
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from services.query.formats import json_text, to_csv
from services.query.stores import move_to, one_line, open_stores
from services.runtime.cut import Cut
from services.runtime.errors import OperatorError

ROWS_AT_ONCE = 1_000
DUCKDB_LIMITS = {"memory_limit": "384MB", "max_temp_directory_size": "2GB", "threads": "1"}
PROCESS_BYTES = 1 << 30
"""DuckDB's own limit does not count texts: one `repeat` would fill the machine."""


class TooLarge(Exception):
    """The answer is larger than the request allows."""


def main() -> None:
    """Answer the one request: a line of JSON that says what became of it, and the body."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what DuckDB prints (a profile, a plan) is no part of the answer
    request = json.load(sys.stdin.buffer)
    resource.setrlimit(resource.RLIMIT_DATA, (PROCESS_BYTES, PROCESS_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (request["seconds"] + 5, request["seconds"] + 10))
    verdict, body = _answer(request)
    out.write(json.dumps(verdict).encode() + b"\n" + body)
    out.close()


def _answer(request: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    try:
        return {"status": "ok"}, b"".join(_body(request))
    except TooLarge:
        return {"status": "size"}, b""
    except MemoryError:
        return {"status": "memory"}, b""
    except duckdb.OutOfMemoryException:
        return {"status": "memory"}, b""
    except OperatorError:
        return {"status": "store"}, b""
    except duckdb.Error as error:
        return {"status": "sql", "detail": one_line(error)}, b""


def _body(request: dict[str, Any]) -> Iterator[bytes]:
    paths = {name: Path(path) for name, path in request["paths"].items()}
    with open_stores(paths, request["sql"], temp_directory=request["spill"], **DUCKDB_LIMITS) as con:
        if request["cut"]:
            as_of, known_at = (day and date.fromisoformat(day) for day in request["cut"])
            move_to(con, Cut(as_of, known_at), request["sql"])
        found = con.execute(request["sql"])
        columns = [(column[0], str(column[1])) for column in found.description or ()]
        written = 0
        for part in WRITERS[request["format"]](columns, found, request["head"]):
            written += len(part)
            if written > request["bytes"]:
                raise TooLarge
            yield part


def _batches(found: duckdb.DuckDBPyConnection) -> Iterator[list[tuple[Any, ...]]]:
    while rows := found.fetchmany(ROWS_AT_ONCE):
        yield rows


def _json(
    columns: list[tuple[str, str]], found: duckdb.DuckDBPyConnection, head: dict[str, Any]
) -> Iterator[bytes]:
    described = {**head, "columns": [{"name": name, "type": kind} for name, kind in columns]}
    yield json_text(described)[:-1].encode() + b', "rows": ['
    between = b"\n"
    for rows in _batches(found):
        yield between + b",\n".join(json_text(row).encode() for row in rows)
        between = b",\n"
    yield b"]}\n"


def _csv(
    columns: list[tuple[str, str]], found: duckdb.DuckDBPyConnection, head: dict[str, Any]
) -> Iterator[bytes]:
    yield to_csv([name for name, _ in columns], ()).encode()
    for rows in _batches(found):
        yield to_csv((), rows).partition("\n")[2].encode()


WRITERS = {"json": _json, "csv": _csv}
