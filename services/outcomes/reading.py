"""What people and programs ask the outcomes store, and what a caller may see of the answers."""

import asyncio
from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Any

from services.outcomes.cohort import CohortReader
from services.outcomes.explain.document import UnknownNameError, Wanted, explain
from services.outcomes.explain.relations import EXPLANATION
from services.outcomes.predictors.asking import PredictorReader
from services.outcomes.worklist import WorklistReader
from services.runtime.cut import Cut, source_at
from services.runtime.tokens import Caller
from services.stream.cache import PerCommit, PerCut
from services.stream.http import Calendar, Order, Row, Where, not_here, refused, visible
from services.stream.node import Node
from services.stream.patient import patient_sql

INTERNAL = ("patient_key", "partition")
"""Columns of `patients` that say nothing about the patient."""
PATIENT_TABLES = ("patients", "patient_outcomes", "biomarkers")

OUTCOMES_ORDER = Order(dict.fromkeys(("patient_id", "protocol", "timepoint", "endpoint"), "VARCHAR"))
FINDINGS = "(SELECT *, coalesce(event_id, '') AS record FROM data_quality)"
FINDINGS_ORDER = Order(
    {
        "found_at": "TIMESTAMP",
        **dict.fromkeys(("site_id", "patient_id", "rule", "record", "detail"), "VARCHAR"),
    },
    descending=True,
)

COUNTED = {
    "observed": "population AND observed IS NOT NULL AND (status = 'final' OR NOT {when_due})",
    "nri": "nri IS NOT NULL",
    "locf": "locf IS NOT NULL",
}
"""Which rows of `patient_outcomes` are in an estimand's denominator, as `cohort_rates` counts them (R4.7, R4.8)."""
GROUPS = {
    "treated": "true",
    "counted": "{counted}",
    "reached": "{counted} AND {estimand}",
    "failed": "{counted} AND NOT {estimand}",
    "left_out": "NOT ({counted}) AND reason IS NOT NULL",
    "awaited": "NOT ({counted}) AND reason IS NULL",
    "pending": "population AND status NOT IN ('final', 'missed')",
}
"""Patients behind a figure, among the treated; `left_out` and `awaited` are those that the denominator lacks."""

ACCOUNTS = f"""
SELECT protocol, timepoint, endpoint, drug, site_id, reason,
    {", ".join(f"{sql.format(when_due='when_due')} AS counted_{name}" for name, sql in COUNTED.items())},
    count(*) AS patients
FROM {{source}} JOIN (SELECT protocol, endpoint, observed_when_due AS when_due FROM protocol_endpoints)
    USING (protocol, endpoint)
WHERE timepoint = $timepoint AND drug IS NOT NULL GROUP BY ALL
"""
HISTORY = """
SELECT * FROM outcome_history($patient, $as_of) WHERE {where} ORDER BY protocol, timepoint, endpoint, known_from
"""
FINDING_COUNTS = "SELECT site_id, rule, count(*) AS findings FROM data_quality GROUP BY ALL ORDER BY ALL"
STORE = """
SELECT today, batch, (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM patients) AS patients,
    (SELECT count(*) FROM patients WHERE drug IS NOT NULL) AS treated,
    (SELECT list(DISTINCT site_id ORDER BY site_id) FROM patients) AS sites,
    (SELECT max(last_event_at) FROM patients) AS last_event_at
FROM clock
"""


class OutcomesReader:
    """Asks the store. A cut of None is today's; rows of patients are the caller's centres' only."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.calendar = Calendar(node)
        self._of_one = {name: patient_sql(node.store.definition, name) for name in PATIENT_TABLES}
        self._slow = asyncio.Semaphore(1)  # what reads every event leaves the other threads to the others
        self._store = PerCommit(node, self._read_store)
        self._findings = PerCommit(node, partial(self._ask, FINDING_COUNTS, {}, slow=True))
        self._accounts: dict[str, PerCut[list[Row]]] = {}
        self.cohort = CohortReader(node, self._slow)
        self.predictors = PredictorReader(node, self._slow)
        self.worklist = WorklistReader(node, self._slow)

    async def store(self) -> Row:
        """The store in one row: today, batch, events, patients, treated, sites, last_event_at."""
        return await self._store.get()

    async def accounts(self, cut: Cut | None, timepoint: str) -> list[Row]:
        """Treated patients at a timepoint by protocol, endpoint, drug, site, estimands that count them, and the reason.

        For pages, which show a caller sums of them only.
        """
        if timepoint not in self._accounts:
            self._accounts[timepoint] = PerCut(self._node, partial(self._read_accounts, timepoint))
        return await self._accounts[timepoint].get(cut)

    async def outcomes(
        self,
        caller: Caller,
        cut: Cut | None,
        equal: Mapping[str, object],
        limit: int,
        after: str | None,
        group: str = "true",
    ) -> tuple[list[Row], str | None]:
        """A page of `patient_outcomes`, and the cursor of the next; `group` is a condition of `group_of`."""
        where = Where(equal, caller.sites).add(group)
        sql = OUTCOMES_ORDER.select(source_at("patient_outcomes", cut), where, limit, after)
        rows = await self._ask(sql, where.parameters, slow=cut is not None)
        return OUTCOMES_ORDER.page(rows, limit)

    async def findings(
        self, caller: Caller, equal: Mapping[str, object], limit: int, after: str | None
    ) -> tuple[list[Row], str | None]:
        """A page of `data_quality`, newest first, and the cursor of the next."""
        where = Where(equal, caller.sites)
        sql = FINDINGS_ORDER.select(FINDINGS, where, limit, after)
        rows, following = FINDINGS_ORDER.page(await self._ask(sql, where.parameters, slow=True), limit)
        return [_without(row, ("record",)) for row in rows], following

    async def finding_counts(self, caller: Caller) -> list[Row]:
        """Findings by site and rule, in the caller's centres."""
        return visible(await self._findings.get(), caller)

    async def patient(self, caller: Caller, patient_id: str, cut: Cut | None) -> dict[str, Any]:
        """`patient` (a row of `patients`), `outcomes` and `biomarkers` of one patient.

        Raises Problem 404 for an unknown patient as for one of another centre.
        """
        shown = await self.calendar.shown(cut)
        person = await self._person(caller, patient_id, shown)
        outcomes = await self._of_patient("patient_outcomes", patient_id, shown)
        biomarkers = await self._of_patient("biomarkers", patient_id, shown)
        return {
            **shown,
            "patient": _without(person, INTERNAL),
            "outcomes": sorted(outcomes, key=lambda row: (row["protocol"], row["timepoint"])),
            "biomarkers": sorted(
                biomarkers, key=lambda row: (row["analyte"], row["collected_on"], row["event_id"])
            ),
        }

    async def explanation(
        self, caller: Caller, patient_id: str, cut: Cut | None, wanted: Wanted
    ) -> dict[str, Any]:
        """Why the outcomes of one patient are what they are.

        Raises Problem 404 as `patient` does, and 422 for what the protocols do not have.
        """
        shown = await self.calendar.shown(cut)
        (found,) = await self._node.read(EXPLANATION, {"patient": patient_id, "known_at": None, **shown})
        try:
            document = explain(found, shown, wanted)
        except UnknownNameError as error:
            raise refused(error.field, "type", str(error).partition(": ")[2]) from None
        if document is None or not caller.may_see(document["patient"]["site_id"]):
            raise not_here("patient")
        return document

    async def history(
        self, caller: Caller, patient_id: str, cut: Cut | None, equal: Mapping[str, object]
    ) -> list[Row]:
        """What was known of a patient's outcomes, moment by moment: rows of `outcome_history` as of the cut's day.

        Raises Problem 404 for an unknown patient as for one of another centre.
        """
        shown = await self.calendar.shown(cut)
        await self._person(caller, patient_id, shown)
        where = Where(equal)
        return await self._node.read(
            HISTORY.format(where=where), {"patient": patient_id, **shown, **where.parameters}
        )

    async def _person(self, caller: Caller, patient_id: str, shown: Mapping[str, date]) -> Row:
        found = await self._of_patient("patients", patient_id, shown)
        if not found or not caller.may_see(found[0]["site_id"]):
            raise not_here("patient")
        return found[0]

    async def _of_patient(self, name: str, patient_id: str, shown: Mapping[str, date]) -> list[Row]:
        return await self._node.read(self._of_one[name], {"patient": patient_id, "known_at": None, **shown})

    async def _read_store(self) -> Row:
        return (await self._node.read(STORE))[0]

    async def _read_accounts(self, timepoint: str, cut: Cut | None) -> list[Row]:
        source = "endpoint_states" if cut is None else source_at("patient_outcomes", cut)
        parameters: dict[str, object] = {"timepoint": timepoint}
        return await self._ask(ACCOUNTS.format(source=source), parameters, slow=cut is not None)

    async def _ask(self, sql: str, parameters: dict[str, object], *, slow: bool) -> list[Row]:
        if not slow:
            return await self._node.read(sql, parameters)
        async with self._slow:
            return await self._node.read(sql, parameters)


def group_of(name: str, estimand: str, *, when_due: bool) -> str:
    """The condition of one of GROUPS; `when_due`: whether a value as observed counts only once it is due."""
    counted = COUNTED[estimand].format(when_due=str(when_due).lower())
    return f"drug IS NOT NULL AND {GROUPS[name].format(counted=f'({counted})', estimand=estimand)}"


def _without(row: Row, names: tuple[str, ...]) -> Row:
    return {name: value for name, value in row.items() if name not in names}
