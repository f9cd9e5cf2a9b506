"""`week12 verify` and `week12 wait` on real services: equal after disorder, different after tampering."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import httpx
import orjson
import pytest
from click.testing import CliRunner, Result

from schemas.protocol import load_protocol
from services.broker import Broker, open_broker
from services.broker.process import free_port
from services.cli import main
from services.ingest.sending import Sender
from services.local.derived import DERIVED
from services.local.study import chunks, study_stream
from services.local.supervisor import Supervisor, child_environment
from services.outcomes.definition import OUTCOMES
from services.runtime.errors import OperatorError
from services.runtime.places import places
from services.runtime.settings import Settings, load_settings
from services.runtime.tokens import TokenStore
from services.runtime.verified import read_verified
from services.safety.definition import SAFETY
from services.simulation.fu2025.plan import CUT
from services.stream.event_tables import EVENT_TABLES
from services.stream.opening import open_service_store
from services.stream.verify import compare, compare_published, read_snapshot, recompute

DEFINITIONS = {"outcomes": OUTCOMES, "safety": SAFETY}


@dataclass
class Registry:
    """Services on one machine, and what is needed to talk to them."""

    settings: Settings
    broker: Broker
    supervisor: Supervisor
    token: str
    accepted: int = 0  # ingest leaves out copies within a request

    def week12(self, *arguments: str, **environment: str) -> Result:
        variables = child_environment(os.environ, self.settings, self.broker)
        return CliRunner().invoke(
            main, list(arguments), env={**variables, "WEEK12_TOKEN": self.token, **environment}
        )


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The study cohort, sent in disorder, with an alert closed by somebody."""
    folder = tmp_path_factory.mktemp("registry")
    broker = open_broker("embedded", folder / "broker")
    settings = load_settings(
        data_dir=folder,
        kafka_bootstrap_servers=broker.bootstrap_servers,
        ingest_port=free_port(),
        outcomes_port=free_port(),
        safety_port=free_port(),
        today=CUT,
        fetch_max_wait_ms=100,
    )
    roles = ["submitter", "registry_lead", "safety_officer"]
    token = TokenStore(settings.tokens_path).add("all", roles)
    supervisor = Supervisor(settings, broker, print)
    try:
        supervisor.start()
        found = Registry(settings, broker, supervisor, token)
        asyncio.run(_send(found))
        _close_an_alert(found)
        yield found
    finally:
        supervisor.stop()


async def _send(registry: Registry) -> None:
    ingest, *_ = places(registry.settings)

    async def stream():  # type: ignore[no-untyped-def]
        for chunk in chunks(study_stream(2025)):
            yield chunk

    headers = {"Authorization": f"Bearer {registry.token}"}
    async with httpx.AsyncClient(base_url=ingest.url, headers=headers, timeout=60) as client:
        sender = Sender(
            client, in_flight=3, give_up_after=30, waiting=lambda _reason: None, done=lambda *_: None
        )
        await sender.send(stream())
    registry.accepted = sender.statuses["accepted"]
    assert sum(sender.statuses.values()) == registry.accepted + sender.statuses["duplicate"] == 4980


def test_wait_returns_when_all_is_there(registry: Registry) -> None:
    done = registry.week12("wait", "--timeout=60")
    assert done.exit_code == 0, done.stderr
    assert f"All {registry.accepted} records are in both stores" in done.stderr
    _, outcomes, safety = places(registry.settings)
    for place in (outcomes, safety):
        progress = httpx.get(f"{place.url}/v1/progress").json()
        assert sum(sum(parts.values()) for parts in progress["offsets"].values()) == registry.accepted
        assert progress["waiting_to_publish"] == 0


def test_wait_names_who_is_behind(registry: Registry) -> None:
    done = registry.week12("wait", "--timeout=0", "--safety-url=http://127.0.0.1:9")
    assert done.exit_code == 1
    assert done.stderr == "Error: not done after 0 s: safety (http://127.0.0.1:9) does not answer\n"


def test_verify_finds_the_live_stores_equal_after_disorder(registry: Registry) -> None:
    assert registry.week12("wait").exit_code == 0
    done = registry.week12("verify", "--published")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "The live stores equal a recomputation from Kafka." in done.stdout
    for relation in (*OUTCOMES.compared, *SAFETY.compared, "registry.outcomes.v1", "registry.alerts.v1"):
        assert f" {relation} " in done.stdout
    assert "DIFFERENT" not in done.stdout
    found = read_verified(registry.settings.data_dir)
    assert [(name, verified.differences) for name, verified in found.items()] == [
        ("outcomes", 0),
        ("safety", 0),
    ]


def _close_an_alert(registry: Registry) -> None:
    """So that there is an action of a person to be compared."""
    assert registry.week12("wait").exit_code == 0
    safety = places(registry.settings)[2]
    with httpx.Client(base_url=safety.url, headers={"Authorization": f"Bearer {registry.token}"}) as client:
        alert_id = client.get("/v1/alerts", params={"state": "open"}).json()["rows"][0]["alert_id"]
        answer = client.post(f"/v1/alerts/{alert_id}/close", json={"note": "seen"})
        assert answer.status_code == 200, answer.text
    done = registry.week12("wait")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("token", "said"), [("", "a token is needed"), ("wrong", "refuses this token (401)")]
)
def test_verify_without_a_token_that_may_is_one_line(registry: Registry, token: str, said: str) -> None:
    done = registry.week12("verify", WEEK12_TOKEN=token)
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_running_store_is_queried_on_its_snapshot(registry: Registry) -> None:
    done = registry.week12("query", "SELECT count(*) AS n FROM outcomes.clock, safety.clock", "--format=csv")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "n\n1\n"


FIRST = "rowid = (SELECT min(rowid) FROM {table})"
TAMPERING = [
    ("outcomes", "selected", "UPDATE {table} SET value = value + 1 WHERE parameter = 0", "patient_outcomes"),
    ("outcomes", "results", "UPDATE {table} SET met = failed, failed = met", "cohort_rates"),
    ("outcomes", "events_visit", f"DELETE FROM {{table}} WHERE {FIRST}", "events"),
    ("outcomes", "events_lab", f"INSERT INTO {{table}} FROM {{table}} WHERE {FIRST}", "events"),
    (
        "safety",
        "adverse_events",
        f"UPDATE {{table}} SET grade = grade % 5 + 1 WHERE {FIRST}",
        "adverse_events",
    ),
    ("safety", "alerts_raised", f"DELETE FROM {{table}} WHERE {FIRST}", "alerts"),
    ("safety", "alert_actions", f"DELETE FROM {{table}} WHERE {FIRST}", "alert_actions"),
]


@pytest.fixture(scope="module")
def recomputed(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A store made from Kafka for each service."""
    folder = tmp_path_factory.mktemp("recomputed")
    for name, definition in DEFINITIONS.items():
        snapshot = read_snapshot(name, _snapshot(registry, name))
        recompute(
            registry.settings, snapshot, definition, [load_protocol("fu2025")], folder / f"{name}.duckdb"
        )
        found = compare(snapshot.path, folder / f"{name}.duckdb", definition)
        assert all(relation.equal for relation in found)
    return {name: folder / f"{name}.duckdb" for name in DEFINITIONS}


def _snapshot(registry: Registry, name: str) -> Path:
    place = next(place for place in places(registry.settings) if place.service == name)
    headers = {"Authorization": f"Bearer {registry.token}"}
    return Path(httpx.post(f"{place.url}/v1/snapshot", headers=headers).json()["path"])


@pytest.mark.parametrize(("name", "table", "sql", "relation"), TAMPERING)
def test_tampering_is_found(
    registry: Registry,
    recomputed: dict[str, Path],
    tmp_path: Path,
    name: str,
    table: str,
    sql: str,
    relation: str,
) -> None:
    tampered = tmp_path / f"{name}.duckdb"
    tampered.write_bytes(_snapshot(registry, name).read_bytes())
    with duckdb.connect(str(tampered)) as con:
        con.execute(sql.format(table=table))
    different = {f.relation: f for f in compare(tampered, recomputed[name], DEFINITIONS[name]) if not f.equal}
    assert relation in different
    assert different[relation].examples


def test_a_derived_topic_that_differs_is_found(registry: Registry, tmp_path: Path) -> None:
    snapshot = read_snapshot("outcomes", _snapshot(registry, "outcomes"))
    assert compare_published(registry.settings, snapshot, DERIVED["outcomes"]).equal
    tampered = tmp_path / "outcomes.duckdb"
    tampered.write_bytes(snapshot.path.read_bytes())
    with duckdb.connect(str(tampered)) as con:
        (patient,) = con.execute(
            "SELECT min(patient_id) FROM patient_outcomes WHERE value IS NOT NULL"
        ).fetchall()[0]
        con.execute(
            "UPDATE selected SET value = value + 1 "
            "FROM patients AS p WHERE selected.patient_key = p.patient_key AND patient_id = ?",
            [patient],
        )
    found = compare_published(registry.settings, read_snapshot("outcomes", tampered), DERIVED["outcomes"])
    assert (found.only_live, found.only_recomputed) == (1, 1)
    assert found.examples == [{"patient_id": patient}]


@pytest.fixture
def at_rest(registry: Registry, tmp_path: Path) -> Path:
    """A data folder with copies of both stores, as if the services had stopped there."""
    for name in DEFINITIONS:
        shutil.copy(_snapshot(registry, name), tmp_path / f"{name}.duckdb")
    shutil.copy(registry.settings.erasure_key_path, tmp_path)
    return tmp_path


def test_replay_makes_the_stores_anew_and_says_what_differed(
    registry: Registry, recomputed: dict[str, Path], at_rest: Path
) -> None:
    def stand(name: str) -> tuple[object, ...]:
        with duckdb.connect(str(at_rest / f"{name}.duckdb"), read_only=True) as con:
            (epoch,) = con.execute("SELECT value FROM store_info WHERE name = 'epoch'").fetchall()[0]
            actions = con.execute("SELECT count(*) FROM alert_actions").fetchall() if name == "safety" else []
            return epoch, con.execute("FROM offsets ORDER BY ALL").fetchall(), actions

    before = {name: stand(name) for name in DEFINITIONS}
    with duckdb.connect(str(at_rest / "outcomes.duckdb")) as con:
        con.execute("UPDATE selected SET value = value + 1 WHERE parameter = 0")
    wrong = registry.week12("replay", WEEK12_DATA_DIR=str(at_rest))
    assert wrong.exit_code == 1, wrong.stderr
    different = [line for line in wrong.stdout.splitlines() if "DIFFERENT" in line]
    assert different
    assert all(line.startswith("outcomes") for line in different)
    for name in DEFINITIONS:
        epoch, *rest = stand(name)
        assert (epoch != before[name][0], rest) == (True, [*before[name][1:]])
    for name, path in recomputed.items():
        assert all(found.equal for found in compare(at_rest / f"{name}.duckdb", path, DEFINITIONS[name]))
    assert not (at_rest / "outcomes.replay").exists()
    with duckdb.connect(str(at_rest / "outcomes.duckdb"), read_only=True) as con:
        waiting = con.execute("SELECT count(DISTINCT patient_id) FROM outbox").fetchall()
        assert waiting == [(94,)]  # the topic is told everything once more


def test_a_replay_that_dies_leaves_the_old_store(
    registry: Registry, at_rest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {name: (at_rest / f"{name}.duckdb").read_bytes() for name in DEFINITIONS}
    in_use: list[str] = []

    def die(live: Path, *_: object) -> None:
        in_use.append(
            subprocess.run([sys.executable, "-c", OPENING, str(live)], capture_output=True, text=True).stderr
        )
        raise KeyboardInterrupt

    monkeypatch.setattr("services.stream.replay.compare", die)
    assert registry.week12("replay", WEEK12_DATA_DIR=str(at_rest)).exit_code != 0
    assert {name: (at_rest / f"{name}.duckdb").read_bytes() for name in DEFINITIONS} == there
    assert "lock" in in_use[0]  # nobody could write meanwhile


OPENING = "import duckdb, sys; duckdb.connect(sys.argv[1])"


def test_a_store_of_an_earlier_layout_is_read_again_from_kafka(
    registry: Registry, recomputed: dict[str, Path], at_rest: Path
) -> None:
    path = at_rest / "outcomes.duckdb"
    with duckdb.connect(str(path)) as con:  # of the version before endoscopies had an ulcerated surface
        con.execute("CREATE TABLE wide AS SELECT * EXCLUDE (ses_ulcerated_surface, hbi_reported) FROM events")
        con.execute("DROP VIEW events")
        for table in EVENT_TABLES:
            con.execute(f"DROP TABLE {table}")
        con.execute("ALTER TABLE wide RENAME TO events")
        con.execute("UPDATE store_info SET value = '511b5cd9f0a3a78b' WHERE name = 'layout'")
        con.execute("UPDATE store_info SET value = 'of its time' WHERE name = 'fingerprint'")
        ((changed,),) = con.execute("SELECT min(patient_key) FROM results WHERE met <> 0").fetchall()
        con.execute("UPDATE results SET met = 0 WHERE patient_key = ?", [changed])
    settings = registry.settings.model_copy(update={"data_dir": at_rest})
    with pytest.raises(OperatorError, match="outcomes was stopped while it read Kafka again"):
        open_service_store(settings, OUTCOMES, lambda: True)
    store = open_service_store(settings, OUTCOMES)
    try:
        assert store.changed
        assert store.info("layout") == str(OUTCOMES.layouts[-1].number)
        told = store.execute("SELECT DISTINCT md5_number_lower(patient_id) FROM store.class_changes")
        assert told == [(changed,)]
    finally:
        store.close()
    assert all(found.equal for found in compare(path, recomputed["outcomes"], OUTCOMES))


def test_a_store_in_use_is_not_replayed(registry: Registry) -> None:
    done = registry.week12("replay")
    assert done.exit_code == 1
    assert "is in use: stop outcomes first" in done.stderr
    assert done.stderr.count("\n") == 1


def test_verify_opens_stores_at_rest_and_exits_1_after_tampering(registry: Registry) -> None:
    """Last, since it stops the services: only the broker stays."""
    for child in registry.supervisor.children:
        child.ask_to_stop()
    for child in registry.supervisor.children:
        child.end(15)
    clean = registry.week12("verify", "--published")
    assert clean.exit_code == 0, clean.stdout + clean.stderr
    path = registry.settings.data_dir / "outcomes.duckdb"
    with duckdb.connect(str(path)) as con:
        (patient,) = con.execute("SELECT min(patient_id) FROM patients").fetchall()[0]
        con.execute("UPDATE patients SET sex = 'other' WHERE patient_id = ?", [patient])
    tampered = registry.week12("verify", "--show")
    assert tampered.exit_code == 1
    assert "outcomes  patients" in tampered.stdout
    assert "DIFFERENT" in tampered.stdout
    assert f"outcomes.patients: patient_id {patient}" in tampered.stdout
    rows = registry.week12("query", "SELECT count(*) AS n FROM patients", "--format=json")
    assert orjson.loads(rows.stdout) == [{"n": 94}]
