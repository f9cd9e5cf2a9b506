"""What people and programs ask the safety store, and what a caller may see of the answers."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from services.runtime.cut import Cut
from services.runtime.tokens import Caller
from services.stream.cache import PerCommit, PerCut
from services.stream.disclosure import mask_small_cells
from services.stream.http import Calendar, Order, Row, Where, not_here, visible
from services.stream.node import Node
from services.stream.patient import patient_sql

PATIENT_TABLES = ("patients", "exposures", "timeline", "alerts")

ALERT_ORDER = Order(
    {"raised_at": "TIMESTAMP", "event_recorded_at": "TIMESTAMP", "alert_id": "VARCHAR"}, descending=True
)
EVENT_ORDER = Order({"onset_on": "DATE", "site_id": "VARCHAR", "event_id": "VARCHAR"}, descending=True)
LAB_ORDER = Order({"collected_on": "DATE", "site_id": "VARCHAR", "event_id": "VARCHAR"}, descending=True)
EVENTS = "(SELECT * EXCLUDE (patient_key) FROM adverse_events)"
LABS = "(SELECT * EXCLUDE (patient_key) FROM lab_toxicities)"
INCIDENCE = "SELECT * FROM {source} ORDER BY drug, site_id NULLS FIRST, patients_with_event DESC, event_group"
DERIVED = ("events", "incidence_pct", "events_per_100py", "first_events_per_100py", "ci_low", "ci_high")
SITES = "SELECT list(DISTINCT site_id ORDER BY site_id) AS sites FROM patients"


class SafetyReader:
    """Asks the store. A cut of None is today's; rows of patients are the caller's centres' only."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.calendar = Calendar(node)
        self._of_one = {name: patient_sql(node.store.definition, name) for name in PATIENT_TABLES}
        self._sites = PerCommit(node, partial(node.read, SITES))
        self._incidence = PerCut(node, self._read_incidence)
        self._slow = asyncio.Semaphore(1)  # what reads every event leaves the other threads to the others

    async def sites(self, caller: Caller) -> list[str]:
        """The centres with patients, as far as they are the caller's."""
        found = (await self._sites.get())[0]["sites"] or []
        return [site for site in found if caller.may_see(site)]

    async def alerts(
        self,
        caller: Caller,
        equal: Mapping[str, object],
        states: Sequence[str],
        since: datetime | None,
        limit: int,
        after: str | None,
    ) -> tuple[list[Row], str | None]:
        """A page of `alerts`, newest first, and the cursor of the next; no `states`: in any."""
        where = Where(equal, caller.sites)
        if states:
            where.add("state = ANY($states)", states=list(states))
        if since:
            moment = since if since.tzinfo else since.replace(tzinfo=UTC)
            where.add("raised_at >= $since", since=moment.astimezone(UTC).replace(tzinfo=None))
        rows = await self._node.read(ALERT_ORDER.select("alerts", where, limit, after), where.parameters)
        return ALERT_ORDER.page(rows, limit)

    async def alert(self, caller: Caller, alert_id: str) -> Row:
        """An alert. Raises Problem 404 for an unknown one as for one of another centre."""
        where = Where({"alert_id": alert_id}, caller.sites)
        rows = await self._node.read(f"SELECT * FROM alerts WHERE {where}", where.parameters)
        if not rows:
            raise not_here("alert")
        return rows[0]

    async def incidence(self, caller: Caller, cut: Cut | None) -> list[Row]:
        """`incidence`: pooled rows and those of the caller's centres."""
        rows = await self._incidence.get(cut)
        if caller.sites is None:
            return rows
        return mask_small_cells(visible(rows, caller), "patients_with_event", "patients", DERIVED)

    async def adverse_events(
        self, caller: Caller, equal: Mapping[str, object], limit: int, after: str | None
    ) -> tuple[list[Row], str | None]:
        """A page of `adverse_events`, latest onset first, and the cursor of the next."""
        return await self._rows(EVENTS, EVENT_ORDER, Where(equal, caller.sites), limit, after)

    async def lab_toxicities(
        self, caller: Caller, equal: Mapping[str, object], limit: int, after: str | None
    ) -> tuple[list[Row], str | None]:
        """A page of `lab_toxicities`, latest first, and the cursor of the next."""
        return await self._rows(LABS, LAB_ORDER, Where(equal, caller.sites), limit, after)

    async def patient(self, caller: Caller, patient_id: str, cut: Cut | None) -> dict[str, Any]:
        """`patient` (site, end of follow-up), `exposures`, `timeline` and, where permitted, `alerts` of one patient.

        Raises Problem 404 for an unknown patient as for one of another centre.
        """
        shown = await self.calendar.shown(cut)
        person = await self._of_patient("patients", patient_id, shown)
        if not person or not caller.may_see(person[0]["site_id"]):
            raise not_here("patient")
        exposures = await self._of_patient("exposures", patient_id, shown)
        timeline = await self._of_patient("timeline", patient_id, shown)
        alerts = await self._of_patient("alerts", patient_id, shown) if caller.may("read_alerts") else []
        return {
            **shown,
            "patient": _without(person[0], "patient_key", "partition"),
            "exposures": [
                _without(row, "patient_key", "site_id")
                for row in sorted(exposures, key=lambda row: (row["first_dose_on"], row["drug"]))
            ],
            "timeline": [
                _without(row, "patient_key", "patient_id")
                for row in sorted(
                    timeline, key=lambda row: (row["on_date"], row["event_type"], row["event_id"])
                )
            ],
            "alerts": sorted(
                (alert for alert in alerts if caller.may_see(alert["site_id"])),
                key=lambda row: (row["raised_at"], row["alert_id"]),
                reverse=True,
            ),
        }

    async def _of_patient(self, name: str, patient_id: str, shown: Mapping[str, date]) -> list[Row]:
        return await self._node.read(self._of_one[name], {"patient": patient_id, "known_at": None, **shown})

    async def _rows(
        self, source: str, order: Order, where: Where, limit: int, after: str | None
    ) -> tuple[list[Row], str | None]:
        rows = await self._node.read(order.select(source, where, limit, after), where.parameters)
        return order.page(rows, limit)

    async def _read_incidence(self, cut: Cut | None) -> list[Row]:
        if cut is None:
            return await self._node.read(INCIDENCE.format(source="incidence"))
        async with self._slow:
            return await self._node.read(INCIDENCE.format(source=cut.source("incidence")))


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}
