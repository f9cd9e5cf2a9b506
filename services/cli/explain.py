"""`week12 explain`: why every outcome and every alert of a patient is what it is."""

from collections.abc import Mapping
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import duckdb
import httpx
import orjson

from services.outcomes.explain.document import UnknownNameError, Wanted, explain
from services.outcomes.explain.relations import EXPLANATION
from services.outcomes.explain.text import to_text
from services.query.snapshots import is_in_use
from services.query.stores import one_line, open_stores
from services.runtime.errors import OperatorError
from services.runtime.places import Place, places
from services.runtime.settings import Settings, load_settings
from services.safety.definition import SAFETY
from services.stream.http import to_json
from services.stream.patient import patient_sql

HELP = """Why every outcome and every alert of a patient is what it is.

For each outcome: the values used, and those passed over with the reason; the windows; what was held against which
limit; intercurrent events; whether the patient counts, and why not. R-numbers are those of docs/rules.md.

While the services run, they are asked; that takes a token that may read patients (and alerts). Stores at rest are
read as they lie there.

\b
Examples:
  week12 explain CD-0067 --timepoint week_12 --endpoint clinical_remission
  week12 explain CD-0067 --as-of 2024-06-30 --store audit
  week12 explain CD-0067 --protocol u_exceed --format json
"""

ANSWER_SECONDS = 60.0
NO_PATIENT = "there is no patient of that name, or it is not yours to see"
ALERTS = f"SELECT * FROM ({patient_sql(SAFETY, 'alerts')}) ORDER BY raised_at DESC, alert_id"


@click.command(help=HELP)
@click.argument("patient")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The day to derive for.  [default: today]")
@click.option(
    "--known-at",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Only from versions that centres had recorded by the end of that day (UTC).",
)
@click.option("--protocol", help="This protocol only.")
@click.option("--timepoint", help="This timepoint only, such as week_12.")
@click.option("--endpoint", help="This endpoint only, such as clinical_remission.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="For reading, or for programs.",
)  # fmt: skip
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder with outcomes.duckdb and safety.duckdb at rest.  [default: WEEK12_DATA_DIR, or the running services]",
)
@click.option("--token", envvar="WEEK12_TOKEN", help="While the services run; better in WEEK12_TOKEN.")
def command(
    patient: str, as_of: datetime | None, known_at: datetime | None, protocol: str | None, timepoint: str | None,
    endpoint: str | None, form: str, store: Path | None, token: str | None,
) -> None:  # fmt: skip
    try:
        settings = load_settings()
        days = {"as_of": as_of and as_of.date(), "known_at": known_at and known_at.date()}
        asked = _Asked(patient, days, Wanted(protocol, timepoint, endpoint))
        document = asked.whole(settings, store, token)
    except (OperatorError, UnknownNameError) as error:
        raise click.ClickException(str(error)) from None
    except duckdb.Error as error:
        raise click.ClickException(one_line(error)) from None
    if document["alerts"] is None:
        click.echo(
            "alerts are not shown: there is no safety store, or your token may not read them", err=True
        )
    text = (
        to_text(document) if form == "text" else orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
    )
    click.echo(text.rstrip("\n"))


class _Asked:
    """One patient at a data cut, asked of stores at rest or of the services that own them."""

    def __init__(self, patient: str, days: Mapping[str, date | None], wanted: Wanted) -> None:
        """`days`: `as_of` (None: today) and `known_at` (None: all that is known)."""
        self._patient = patient
        self._days = {name: day for name, day in days.items() if day}
        self._wanted = wanted

    def whole(self, settings: Settings, store: Path | None, token: str | None) -> dict[str, Any]:
        """The explanation with the patient's `alerts`, which are None where they cannot be read."""
        folder = store or settings.data_dir
        owners = {place.service: place for place in places(settings)}
        paths = {name: folder / f"{name}.duckdb" for name in ("outcomes", "safety")}
        at_rest = {name: path for name, path in paths.items() if path.exists() and not is_in_use(path)}
        if store and not paths["outcomes"].exists():
            raise OperatorError(f"{folder} holds no outcomes.duckdb: name another with --store")
        with httpx.Client(timeout=ANSWER_SECONDS, trust_env=False) as client:
            document = (
                self._outcomes_at_rest(at_rest["outcomes"])
                if "outcomes" in at_rest
                else self._outcomes_of(client, owners["outcomes"], token)
            )
            if "safety" in at_rest:
                alerts: Any = self._alerts_at_rest(at_rest["safety"])
            elif "outcomes" in at_rest and not paths["safety"].exists():
                alerts = None
            else:
                alerts = self._alerts_of(client, owners["safety"], token)
        return {**document, "alerts": alerts}

    def _outcomes_at_rest(self, path: Path) -> dict[str, Any]:
        with closing(open_stores({"outcomes": path})) as con:
            cut = self._cut(con)
            (found,) = _rows(con, EXPLANATION, {"patient": self._patient, "known_at": None, **cut})
        document = explain(found, cut, self._wanted)
        if document is None:
            raise OperatorError(NO_PATIENT)
        plain: dict[str, Any] = orjson.loads(to_json(document))
        return plain

    def _alerts_at_rest(self, path: Path) -> list[dict[str, Any]]:
        with closing(open_stores({"safety": path})) as con:
            rows = _rows(con, ALERTS, {"patient": self._patient, "known_at": None, **self._cut(con)})
        plain: list[dict[str, Any]] = orjson.loads(to_json(rows))
        return plain

    def _outcomes_of(self, client: httpx.Client, place: Place, token: str | None) -> dict[str, Any]:
        wanted = {name: value for name, value in vars(self._wanted).items() if value}
        path = f"/v1/patients/{quote(self._patient, safe='')}/explain"
        return _answer(client, place, path, self._dated(wanted), token)

    def _alerts_of(
        self, client: httpx.Client, place: Place, token: str | None
    ) -> list[dict[str, Any]] | None:
        mine = {"patient_id": self._patient, "limit": "1"}
        if _ask(client, place, "/v1/alerts", mine, token).status_code == 403:
            return None
        path = f"/v1/patients/{quote(self._patient, safe='')}/timeline"
        alerts: list[dict[str, Any]] = _answer(client, place, path, self._dated({}), token)["alerts"]
        return alerts

    def _dated(self, parameters: Mapping[str, str]) -> dict[str, str]:
        return {**parameters, **{name: day.isoformat() for name, day in self._days.items()}}

    def _cut(self, con: duckdb.DuckDBPyConnection) -> dict[str, date]:
        (today,) = con.execute("SELECT today FROM clock").fetchall()[0]
        return {"as_of": today, **self._days}


def _answer(
    client: httpx.Client, place: Place, path: str, parameters: Mapping[str, str], token: str | None
) -> dict[str, Any]:
    """A good answer of a running service. Raises OperatorError with what the service says is wrong."""
    answer = _ask(client, place, path, parameters, token)
    if answer.status_code == 404:
        raise OperatorError(NO_PATIENT)
    if answer.status_code != 200:
        raise OperatorError(f"{place.service}: {answer.json().get('detail', answer.status_code)}")
    body: dict[str, Any] = answer.json()
    return body


def _ask(
    client: httpx.Client, place: Place, path: str, parameters: Mapping[str, str], token: str | None
) -> httpx.Response:
    if not token:
        raise OperatorError(
            f"no store of {place.service} lies at rest, and to ask the service at {place.url} takes a token: set "
            "WEEK12_TOKEN (`week12 token add me --role registry_lead` makes one), or name a folder with --store"
        )
    credential = {"Authorization": f"Bearer {token}"}
    try:
        return client.get(place.url + path, params=dict(parameters), headers=credential)
    except httpx.TransportError as error:
        raise OperatorError(
            f"{place.service} does not answer at {place.url} ({type(error).__name__}): "
            "start it, or name a folder of stores with --store"
        ) from None


def _rows(con: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, object]) -> list[dict[str, Any]]:
    found = con.execute(sql, parameters)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
