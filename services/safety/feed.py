"""Alerts as they change: read once a commit, however many listen, and resumed without loss or repetition.

Every change of an alert has a number of its own (`alert_changes.seq`), which only grows within a store's
epoch. An event's id is `<epoch>-<seq>`; whoever gives one back gets what changed since, and no more.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from services.runtime.tokens import Caller
from services.stream.cache import PerCommit
from services.stream.http import Row
from services.stream.node import Node

KEPT_CHANGES = 2_000
"""Changes kept in memory; whoever was away for longer is answered from the store."""
LOOK_SECONDS = 1.0
"""How soon a stream without news notices that its login or the service has ended."""
PENDING_STATES = ("open", "acknowledged")
"""States of alerts that somebody still has to see to."""

EPOCH = "SELECT value FROM store_info WHERE name = 'epoch'"
HEAD = "SELECT coalesce(max(seq), 0) AS seq FROM alert_changes"
NEWEST = "(SELECT alert_id AS changed_id, max(seq) AS seq FROM alert_changes GROUP BY alert_id)"
CHANGES = f"""
SELECT seq, changed_id, alerts.* FROM {NEWEST} LEFT JOIN alerts ON alert_id = changed_id WHERE seq > ? ORDER BY seq
"""
PENDING = f"""
SELECT seq, changed_id, alerts.* FROM {NEWEST} JOIN alerts ON alert_id = changed_id
WHERE state IN {PENDING_STATES} ORDER BY seq
"""
COUNTS = "SELECT site_id, severity, state, count(*) AS alerts FROM alerts GROUP BY ALL"

Counts = dict[str, dict[str, int]]
"""Severity -> state -> alerts."""


@dataclass(frozen=True)
class Change:
    """An alert that changed; `alert` is None where it is gone, as after an erasure."""

    seq: int
    alert_id: str
    alert: Row | None

    def visible_to(self, caller: Caller) -> bool:
        """Alerts of the caller's centres; that a nameless one is gone may be known to everybody."""
        return self.alert is None or caller.may_see(self.alert["site_id"])


@dataclass(frozen=True)
class News:
    """What a listener is told at once.

    `changes` with their event ids; the `counts` after them, with the id that follows from all of it.
    `reset`: what was shown before is to be forgotten.
    """

    changes: Sequence[tuple[str, Change]]
    counts: Counts
    cursor: str
    reset: bool = False


@dataclass(frozen=True)
class _Tail:
    """What a look at the store found: the newest number, the changes since the last look, and all counts."""

    head: int
    changes: Sequence[Change]
    counts: list[Row]
    epoch: str = ""


class AlertFeed:
    """The changes of alerts, for any number of listeners."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._epoch = ""
        self._head = 0
        self._floor = 0  # every change after this one is in `_recent`
        self._recent: OrderedDict[str, Change] = OrderedDict()  # by alert, the latest change last
        self._counts: list[Row] = []
        self._tail = PerCommit(node, self._read_tail)

    async def cursor(self) -> str:
        """The id of the newest change: who has seen everything up to it listens from there."""
        await self._tail.get()
        return self._id(self._head)

    async def counts(self, caller: Caller) -> Counts:
        """How many alerts of the caller's centres there are."""
        await self._tail.get()
        found: Counts = {}
        for row in self._counts:
            if caller.may_see(row["site_id"]):
                states = found.setdefault(row["severity"], {})
                states[row["state"]] = states.get(row["state"], 0) + row["alerts"]
        return found

    async def listen(
        self, caller: Caller, last: str, still: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[News]:
        """What changed since the event id `last`, then every change as it is committed, until `still` says no.

        Without an id, or with one of another epoch, it begins with all alerts that somebody has to see to.
        """
        await self._tail.get()
        seq = self._position(last)
        if seq is None:
            seq = self._head
            pending = _changes(await self._node.read(PENDING))
            seq = max([seq, *(change.seq for change in pending)])
            yield await self._news(caller, pending, seq, reset=True)
        while await still():
            seen = self._node.committed.count
            if changes := await self._after(seq):
                seq = changes[-1].seq
                if any(change.visible_to(caller) for change in changes):
                    yield await self._news(caller, changes, seq)
            await self._node.committed.wait(seen, LOOK_SECONDS)

    def _position(self, last: str) -> int | None:
        epoch, _, number = last.rpartition("-")
        is_ours = epoch == self._epoch and number.isdecimal() and int(number) <= self._head
        return int(number) if is_ours else None

    async def _after(self, seq: int) -> list[Change]:
        await self._tail.get()
        if seq < self._floor:
            return _changes(await self._node.read(CHANGES, [seq]))
        return [change for change in self._recent.values() if change.seq > seq] if seq < self._head else []

    async def _news(
        self, caller: Caller, changes: Sequence[Change], seq: int, *, reset: bool = False
    ) -> News:
        named = [(self._id(change.seq), change) for change in changes if change.visible_to(caller)]
        return News(named, await self.counts(caller), self._id(seq), reset)

    def _id(self, seq: int) -> str:
        return f"{self._epoch}-{seq}"

    async def _read_tail(self) -> None:
        tail = await self._node.in_reader(self._look)
        if tail is None:
            return
        if not self._epoch:
            self._epoch, self._head, self._floor = tail.epoch, tail.head, tail.head
        self._counts = tail.counts
        self._keep(tail.changes)

    def _look(self) -> "_Tail | None":
        """What is new, read in one go: after each commit somebody waits for it."""
        read = self._node.query
        head: int = read(HEAD)[0]["seq"]
        if not self._epoch:
            return _Tail(head, [], read(COUNTS), read(EPOCH)[0]["value"])
        return _Tail(head, _changes(read(CHANGES, [self._head])), read(COUNTS)) if head > self._head else None

    def _keep(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._recent.pop(change.alert_id, None)
            self._recent[change.alert_id] = change
            self._head = change.seq
        while len(self._recent) > KEPT_CHANGES:
            self._floor = self._recent.popitem(last=False)[1].seq


def _changes(rows: Sequence[Row]) -> list[Change]:
    return [Change(row["seq"], row["changed_id"], _alert(row)) for row in rows]


def _alert(row: Row) -> Row | None:
    if row["alert_id"] is None:
        return None
    return {name: value for name, value in row.items() if name not in ("seq", "changed_id")}
