"""Which files to read in place of the stores of a folder: those at rest, and snapshots of those in use."""

import fcntl
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx

from services.query.stores import STORES
from services.runtime.errors import OperatorError
from services.runtime.places import Place, places
from services.runtime.settings import Settings

ANSWER_SECONDS = 120.0
"""How long the owner of a large store may write its snapshot."""


def readable_files(folder: Path, settings: Settings, token: str | None) -> dict[str, Path]:
    """The file to read for each store that `folder` holds: name -> path.

    A store that is in use is never opened: its service is asked for a snapshot, with `token`.
    Raises OperatorError where there is no store, or no snapshot of one.
    """
    there = {name: folder / f"{name}.duckdb" for name in STORES if (folder / f"{name}.duckdb").exists()}
    if not there:
        raise OperatorError(
            f"{folder} holds neither outcomes.duckdb nor safety.duckdb: name another with --store"
        )
    owners = {place.service: place for place in places(settings)}
    with ExitStack() as stack:
        client: httpx.Client | None = None
        for name, path in there.items():
            if is_in_use(path):
                client = client or stack.enter_context(httpx.Client(timeout=ANSWER_SECONDS, trust_env=False))
                there[name] = _own_snapshot(client, owners[name], path, token)
    return there


def is_in_use(path: Path) -> bool:
    """Whether another process may write the store. Looks at its lock alone."""
    with path.open("rb") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def bearer(token: str | None, place: Place) -> dict[str, str]:
    """The credential for a running service. Raises OperatorError without one."""
    if not token:
        raise OperatorError(
            f"{place.service} runs, so a token is needed for its snapshot: set WEEK12_TOKEN "
            "(`week12 token add me --role analyst` makes one)"
        )
    return {"Authorization": f"Bearer {token}"}


def ask_for_snapshot(client: httpx.Client, place: Place, credential: Mapping[str, str]) -> Path:
    """A copy of a running service's store, at most 5 s old. Raises OperatorError where it gives none."""
    try:
        answer = client.post(f"{place.url}/v1/snapshot", headers=dict(credential))
    except httpx.TransportError as error:
        raise OperatorError(f"{place.url} gave no snapshot ({type(error).__name__}): try again") from None
    if answer.status_code in (401, 403):
        raise OperatorError(
            f"{place.service} refuses this token ({answer.status_code}): "
            "give one with a role that may operate, such as analyst"
        )
    if answer.status_code != 200:
        raise OperatorError(
            f"{place.url} gave no snapshot ({answer.status_code}): see the log of {place.service}"
        )
    return Path(answer.json()["path"])


def _own_snapshot(client: httpx.Client, place: Place, path: Path, token: str | None) -> Path:
    snapshot = ask_for_snapshot(client, place, bearer(token, place))
    if snapshot.parent.parent != path.parent.resolve():
        raise OperatorError(
            f"{path} is in use, and the {place.service} that answers at {place.url} keeps its store elsewhere: "
            f"set WEEK12_{place.service.upper()}_PORT to that of its owner, or stop that"
        )
    return snapshot
