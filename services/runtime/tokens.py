"""Access tokens: a TOML file of SHA-256 hashes, and who each token stands for.

A token is 256 random bits, so a plain SHA-256 is enough: there is nothing to guess. The file is rewritten
atomically with mode 0600, and a running service notices by the file's stamp.
"""

import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from services.runtime.errors import OperatorError

log = logging.getLogger(__name__)

Permission: TypeAlias = Literal[
    "send", "read_patients", "read_rates", "read_alerts", "act_on_alerts", "operate", "query"
]
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)

ROLES: dict[str, frozenset[Permission]] = {
    "submitter": frozenset({"send"}),
    "site_user": frozenset({"send", "read_patients", "read_rates", "read_alerts"}),
    "safety_officer": frozenset({"read_patients", "read_rates", "read_alerts", "act_on_alerts"}),
    "analyst": frozenset({"read_patients", "read_rates", "operate", "query"}),
    "registry_lead": frozenset({"read_patients", "read_rates", "read_alerts", "operate", "query"}),
    "auditor": frozenset({"read_patients", "read_rates", "read_alerts", "operate"}),
    "admin": frozenset(),
}
"""What each role may do. Roles are the registry's; a permission appears here once its function exists."""

SITE_ROLES = frozenset({"submitter", "site_user"})
"""Roles that act for named centres: whoever makes such a token says which, or says all."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEADER = (
    "# Access tokens of week12: hashes only. Made by `week12 token add`, removed by `week12 token revoke`.\n"
)


class TokenError(OperatorError):
    """The tokens file cannot be used, or a change to it makes no sense."""


@dataclass(frozen=True)
class Caller:
    """Who sent a request. `sites` is None where every centre is meant."""

    name: str
    roles: frozenset[str]
    sites: frozenset[str] | None = None

    def may(self, permission: Permission) -> bool:
        """Whether one of the caller's roles carries the permission."""
        return any(permission in ROLES[role] for role in self.roles)

    def may_see(self, site_id: str) -> bool:
        """Whether the caller acts for this centre."""
        return self.sites is None or site_id in self.sites


@dataclass(frozen=True)
class Token:
    """One entry of the file."""

    caller: Caller
    sha256: str
    created_on: str

    def toml(self) -> str:
        """The entry as it stands in the file."""
        lines = [
            "[[token]]",
            f"name = {_quote(self.caller.name)}",
            f"sha256 = {_quote(self.sha256)}",
            f"roles = {_quote(sorted(self.caller.roles))}",
        ]
        if self.caller.sites is not None:
            lines.append(f"sites = {_quote(sorted(self.caller.sites))}")
        return "\n".join([*lines, f"created_on = {_quote(self.created_on)}", ""])


class TokenStore:
    """The tokens file: authenticates secrets, adds and revokes tokens.

    Reading is cheap and safe from several threads; a changed file is re-read at the next look-up.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, ...] | None = None
        self._tokens: tuple[Token, ...] = ()
        self._load()

    def authenticate(self, secret: str) -> Caller | None:
        """The caller a secret belongs to, or None. Takes the same time whichever token matches."""
        digest = _sha256(secret)
        found = None
        for token in self._current():
            if hmac.compare_digest(token.sha256, digest):
                found = token.caller
        return found

    def find(self, name: str) -> Token | None:
        """The token of that name while it stands."""
        return next((token for token in self._current() if token.caller.name == name), None)

    def list(self) -> tuple[Token, ...]:
        """All tokens, in the order they were made."""
        return self._current()

    def add(self, name: str, roles: Iterable[str], sites: Iterable[str] | None = None) -> str:
        """Make a token and return its secret, which is kept nowhere. `sites` None means all.

        Raises TokenError for a name in use or an unknown role.
        """
        caller = _checked(name, frozenset(roles), None if sites is None else frozenset(sites))
        secret = f"week12_{secrets.token_urlsafe(32)}"
        token = Token(caller, _sha256(secret), datetime.now(UTC).date().isoformat())

        def with_new(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
            if any(other.caller.name == name for other in tokens):
                raise TokenError(
                    f"a token named {name} exists: choose another name, or `week12 token revoke {name}` first"
                )
            return (*tokens, token)

        self._change(with_new)
        return secret

    def revoke(self, name: str) -> None:
        """Remove a token; running services refuse it from their next request on.

        Raises TokenError where there is no token of that name.
        """

        def without(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
            kept = tuple(token for token in tokens if token.caller.name != name)
            if len(kept) == len(tokens):
                raise TokenError(f"no token is named {name}: `week12 token list` shows the names")
            return kept

        self._change(without)

    def _change(self, change: Callable[[tuple[Token, ...]], tuple[Token, ...]]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.with_suffix(".lock")):
                self._load()
                _write(self.path, change(self._tokens))
                self._load()
        except OSError as error:
            raise TokenError(
                f"{self.path} cannot be written ({error.strerror}): set WEEK12_TOKENS_FILE or WEEK12_DATA_DIR"
            ) from None

    def _current(self) -> tuple[Token, ...]:
        if _stamp(self.path) != self._stamp:
            try:
                self._load()
            except TokenError as error:
                # A slip of the pen in the file must not lock every centre out.
                self._stamp = _stamp(self.path)
                log.error("%s; the tokens read before still hold", error)
        return self._tokens

    def _load(self) -> None:
        stamp = _stamp(self.path)
        self._tokens = _read(self.path) if stamp else ()
        self._stamp = stamp


def _checked(name: str, roles: frozenset[str], sites: frozenset[str] | None) -> Caller:
    if not _NAME.fullmatch(name):
        raise TokenError(
            f"token name {name!r}: use 1 to 64 letters, digits, dots, hyphens or underscores, "
            "starting with a letter or digit"
        )
    unknown = sorted(roles - ROLES.keys())
    if unknown or not roles:
        raise TokenError(
            f"role {unknown[0]!r} is unknown: choose from {', '.join(ROLES)}"
            if unknown
            else f"token {name} has no role: choose from {', '.join(ROLES)}"
        )
    if sites is not None and not (sites and all(0 < len(s) <= 64 and s.isprintable() for s in sites)):
        raise TokenError("a site is 1 to 64 printable characters, and there must be at least one")
    return Caller(name, roles, sites)


def _read(path: Path) -> tuple[Token, ...]:
    try:
        entries = tomllib.loads(path.read_text("utf-8")).get("token", [])
        return tuple(_entry(entry) for entry in entries)
    except OSError as error:
        raise TokenError(f"{path} cannot be read ({error.strerror}): check its owner and mode") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise TokenError(
            f"{path} is not a tokens file: put back the last good copy, or remove it and make tokens anew"
        ) from None


def _entry(entry: dict[str, object]) -> Token:
    name, sha256, roles, sites = entry["name"], entry["sha256"], entry["roles"], entry.get("sites")
    if not (isinstance(name, str) and isinstance(sha256, str) and _strings(roles)):
        raise TypeError
    if (sites is not None and not _strings(sites)) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise TypeError
    known = frozenset(roles) & ROLES.keys()  # type: ignore[call-overload]
    return Token(
        Caller(name, known, None if sites is None else frozenset(sites)),  # type: ignore[call-overload]
        sha256,
        str(entry.get("created_on", "")),
    )


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _write(path: Path, tokens: tuple[Token, ...]) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:  # mkstemp gives mode 0600
            file.write("\n".join([_HEADER, *(token.toml() for token in tokens)]))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _quote(value: str | list[str]) -> str:
    # A JSON string or array of printable text is a TOML one.
    return json.dumps(value, ensure_ascii=False)
