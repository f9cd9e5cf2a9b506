"""Protocol files (`protocols/*.toml`): read, put together with what they extend, and checked.

A file may extend others and then says only what differs. A mistake is a `ProtocolError` that names the file, the
line, the field and the reason.
"""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.protocol_model import (
    Criterion,
    Endpoint,
    Parameter,
    Population,
    Predictor,
    Protocol,
    Reference,
    Regression,
)

PROTOCOLS_DIR = Path(__file__).parent / "protocols"

__all__ = [
    "PROTOCOLS_DIR",
    "Criterion",
    "Endpoint",
    "Parameter",
    "Population",
    "Predictor",
    "Protocol",
    "ProtocolError",
    "Reference",
    "Regression",
    "load_protocol",
    "protocol_files",
    "shipped_protocols",
]

REPORTED = ("population", "rule", "timepoints")
"""What an endpoint keeps when another file gives it another comparison."""

Fields = dict[str, Any]
FieldPath = tuple[str | int, ...]


class ProtocolError(Exception):
    """A protocol file that cannot be used; the message names the file, the line, the field and the reason."""


@dataclass(frozen=True)
class ProtocolFile:
    """One file as it was read."""

    path: Path
    text: str
    fields: Fields


def shipped_protocols() -> tuple[str, ...]:
    """Names of the protocols that come with week12."""
    return tuple(sorted(path.stem for path in PROTOCOLS_DIR.glob("*.toml")))


def load_protocol(name_or_path: str | Path) -> Protocol:
    """Read a shipped protocol by name (`fu2025`) or a file by path (`local/ours.toml`).

    Raises `ProtocolError` for a missing file, broken TOML or a definition that does not hold together.
    """
    files = protocol_files(name_or_path)
    fields: Fields = {}
    for file in files:
        fields = _merged(fields, {name: part for name, part in file.fields.items() if name != "extends"})
    try:
        return Protocol(**{**fields, "name": files[-1].path.stem})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        missing = first["type"] == "missing"
        raise ProtocolError(_placed(files, first["loc"], first["msg"], missing=missing)) from None


def protocol_files(name_or_path: str | Path) -> list[ProtocolFile]:
    """A protocol's own file, last, after those that it extends, in the order in which they are laid over another."""
    return list(_chain(_find(str(name_or_path), Path()), ()))


def _chain(path: Path, above: tuple[Path, ...]) -> Iterator[ProtocolFile]:
    if path in above:
        raise ProtocolError(f"{path}: extends itself")
    file = _read(path)
    extended = file.fields.get("extends", [])
    if not isinstance(extended, list) or not all(isinstance(name, str) for name in extended):
        raise ProtocolError(
            f'{path}, line {_line(file, ("extends",))}: extends: names a list of files: ["fu2025"]'
        )
    for name in extended:
        yield from _chain(_find(name, path.parent), (*above, path))
    yield file


def _find(name: str, beside: Path) -> Path:
    """A `.toml` path, or the name of a shipped file."""
    return beside / name if name.endswith(".toml") else PROTOCOLS_DIR / f"{name}.toml"


def _read(path: Path) -> ProtocolFile:
    try:
        text = path.read_text(encoding="utf-8")
        return ProtocolFile(path, text, tomllib.loads(text))
    except FileNotFoundError:
        shipped = ", ".join(shipped_protocols())
        raise ProtocolError(f"no protocol file {path}; shipped: {shipped}") from None
    except OSError as error:
        raise ProtocolError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"{path}: {error}") from None


def _merged(under: Fields, over: Fields) -> Fields:
    """Tables are laid over each other name by name; but a criterion that states its kind compares anew."""
    merged = dict(under)
    for name, part in over.items():
        below = under.get(name)
        if not isinstance(part, dict) or not isinstance(below, dict):
            merged[name] = part
        elif "kind" in part:
            merged[name] = {field: below[field] for field in REPORTED if field in below} | part
        else:
            merged[name] = _merged(below, part)
    return merged


def _placed(files: Sequence[ProtocolFile], loc: FieldPath, message: str, *, missing: bool) -> str:
    """The message with its file and line: the last file that states the field, or most of the way to it."""
    reason = message.removeprefix("Value error, ")
    if not loc:  # found by the protocol as a whole, which says where
        stated, _, rest = reason.partition(": ")
        loc, reason = _as_path(stated), rest
    stated_at = loc[:-1] if missing else loc
    depths = [len(_known(file.fields, stated_at)) for file in files]
    at = max(index for index, depth in enumerate(depths) if depth == max(depths))
    known = _known(files[at].fields, stated_at)
    field = ".".join(map(str, loc if missing else known))  # behind it stand names of types, not of fields
    return f"{files[at].path}, line {_line(files[at], known)}: {field}: {reason}"


def _as_path(stated: str) -> FieldPath:
    return tuple(int(part) if part.isdigit() else part for part in stated.split("."))


def _known(fields: Any, loc: FieldPath) -> FieldPath:
    """As much of a path as leads somewhere."""
    known: list[str | int] = []
    for part in loc:
        places: Any = (
            fields if isinstance(fields, dict) else range(len(fields)) if isinstance(fields, list) else ()
        )
        if part not in places:
            break
        fields = fields[part]
        known.append(part)
    return tuple(known)


def _line(file: ProtocolFile, path: FieldPath) -> int:
    """The line on which a statement begins: before it, the file does not lead to the field yet."""
    lines = file.text.splitlines()
    begins = 1
    for end in range(1, len(lines) + 1):
        try:
            fields = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        if len(_known(fields, path)) == len(path):
            return begins
        begins = end + 1
    return begins
