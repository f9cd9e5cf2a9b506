"""Runs one query in a process of its own, within bounds of time, size and memory."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from services.broker import leash

_PROGRAM = "from services.query.worker import main; main()"
KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL")
"""What the process gets of the environment: no secret."""

Format = Literal["json", "csv"]


class NotAnswered(Exception):
    """`reason`: `sql` (with DuckDB's words in `detail`), `time`, `size`, `memory`,
    `store` (a file went away), or `ended` (it crashed).
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Question:
    """A query over the stores at `paths`; `head` stands before the rows in JSON."""

    paths: Mapping[str, Path]
    sql: str
    form: Format
    cut: tuple[str, str | None] | None = None  # `as_of` and `known_at`
    head: Mapping[str, Any] = field(default_factory=dict)


async def ask(question: Question, scratch: Path, *, seconds: int, most_bytes: int) -> bytes:
    """The answer as it goes out. Raises NotAnswered.

    `scratch`: where what does not fit into memory may stand meanwhile; nothing is left there.
    """
    with _folder_in(scratch) as spill:
        request = {
            "paths": {name: str(path) for name, path in question.paths.items()},
            "sql": question.sql,
            "cut": question.cut,
            "format": question.form,
            "head": dict(question.head),
            "spill": spill,
            "seconds": seconds,
            "bytes": most_bytes,
        }
        written = await _run(json.dumps(request).encode(), seconds)
    line, _, body = written.partition(b"\n")
    verdict = json.loads(line) if line else {"status": "ended"}
    if verdict["status"] != "ok":
        raise NotAnswered(verdict["status"], verdict.get("detail", ""))
    return body


def _folder_in(scratch: Path) -> "tempfile.TemporaryDirectory[str]":
    scratch.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=scratch)


async def _run(request: bytes, seconds: float) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid())),
        *(sys.executable, "-P", "-c", _PROGRAM),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in KEPT if name in os.environ},
        start_new_session=True,  # Ctrl-C is its parent's affair
    )
    try:
        async with asyncio.timeout(seconds):
            written, _ = await process.communicate(request)
    except TimeoutError:
        raise NotAnswered("time") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return written
