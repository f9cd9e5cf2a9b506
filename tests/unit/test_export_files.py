"""What the exported data sets say, by hand calculation, and that every format says the same to other readers."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pandas as pd
import pyreadstat
import pytest
from click.testing import CliRunner, Result
from odmlib.dataset_json_1_1 import DatasetJSON
from reading_helpers import CUT, cohort_events
from stores import OUTCOMES, SAFETY, open_store
from twin.builders import (
    adverse_event,
    consent,
    enrolment,
    lab,
    on,
    rescue,
    retraction,
    segment,
    start,
    stop,
    visit,
)

from services.cli import main
from services.export.definition import DataSet, load_data_sets
from services.stream.files import compute_stores

Row = dict[str, str]

DATA_SETS = {data_set.name: data_set for data_set in load_data_sets()}
SCHEMA = json.loads(
    (Path(__file__).parents[1] / "contracts" / "dataset_json_1_1.schema.json").read_text(encoding="utf-8")
)
FORMATS = "parquet,csv,dataset-json,xpt"
EPOCH = date(1960, 1, 1)


def stores(folder: Path, events: Sequence[dict[str, Any]], today: date) -> Path:
    """Both stores with these events, at rest in a folder."""
    folder.mkdir()
    lines = folder / "events.jsonl"
    lines.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    made = [open_store(d, today, folder / f"{d.name}.duckdb") for d in (OUTCOMES, SAFETY)]
    loaded = compute_stores([lines], made)
    assert loaded.rejects == []
    for store in made:
        store.close()
    return folder


def run(folder: Path, store: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["export", str(folder), "--store", str(store), *options])


def exported(folder: Path, store: Path, *options: str) -> Path:
    result = run(folder, store, *options)
    assert result.exit_code == 0, result.output
    return folder


def records(folder: Path, name: str) -> list[Row]:
    with (folder / f"{name.lower()}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stores of the study cohort, and `all` with every format of them."""
    folder = stores(tmp_path_factory.mktemp("cohort") / "stores", cohort_events(), CUT)
    exported(folder / "all", folder, "--format", FORMATS)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Path]:
    """Exports as CSV what a few events give, as of day 200 of the usual patient."""

    def export(*events: dict[str, Any], offset: int = 200, options: Sequence[str] = ()) -> Path:
        folder = stores(tmp_path / "stores", events, on(offset))
        return exported(tmp_path / "out", folder, "--format", "csv", *options)

    return export


def only(rows: list[Row], **wanted: str) -> Row:
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


def said(row: Row, *names: str) -> list[str]:
    return [row[name] for name in names]


# -- what the records say --------------------------------------------------------------------------------------


def test_a_patient_is_one_record_of_adsl(small: Callable[..., Path]) -> None:
    folder = small(
        enrolment(-14, birth_year=1990, height_cm=165, disease_location="L3", disease_behaviour="B1", perianal=False,
                  disease_duration_years=4.5, prior_biologics=["vedolizumab", "infliximab"]),
        start(0), rescue(40), stop(50), visit(-3, cdai=300),
        adverse_event(60, outcome="fatal", grade=5, serious=True, seriousness=["death"],
                      resolved_on=on(61).isoformat()),
        enrolment(-14, "other", patient_id="W12-0002", sex="other"),
    )  # fmt: skip
    treated, untreated = records(folder, "ADSL")
    assert treated == {
        "STUDYID": "WEEK12", "USUBJID": "WEEK12-site-a-W12-0001", "SUBJID": "W12-0001", "SITEID": "site-a",
        "AGE": "34", "AGEU": "YEARS", "SEX": "F", "TRT01A": "upadacitinib", "TRTSDT": "2024-01-01",
        "TRTEDT": on(50).isoformat(), "ENRLDT": "2023-12-18", "CNSWDT": "", "ICEDT": on(40).isoformat(),
        "DTHFL": "Y", "DTHDT": on(61).isoformat(), "SAFFL": "Y", "EFFFL": "Y", "HEIGHTBL": "165", "CDLOC": "L3",
        "CDBEHAV": "B1", "PERIANFL": "N", "CDDURY": "4.5", "PRBIOFL": "Y", "PRBIO": "infliximab; vedolizumab",
        "CDAIBL": "300", "SESCDBL": "",
    }  # fmt: skip
    wanted = ("SUBJID", "AGE", "AGEU", "SEX", "TRT01A", "TRTSDT", "SAFFL", "EFFFL", "DTHFL", "PRBIOFL")
    assert said(untreated, *wanted) == ["W12-0002", "", "", "U", "", "", "N", "N", "", ""]


@pytest.mark.parametrize(
    ("offset", "day"), [(-28, "-28"), (-1, "-1"), (0, "1"), (1, "2"), (83, "84"), (84, "85"), (98, "99")]
)
def test_there_is_no_study_day_0(small: Callable[..., Path], offset: int, day: str) -> None:
    folder = small(enrolment(-40), start(0), lab("crp", offset, 7))
    (result,) = records(folder, "ADLB")
    assert said(result, "ADT", "ADY") == [on(offset).isoformat(), day]


def test_an_outcome_is_a_record_as_observed_and_one_with_missing_as_failure(
    small: Callable[..., Path],
) -> None:
    folder = small(
        enrolment(), start(0), visit(-3, cdai=300), visit(80, cdai=149.5),
        visit(-20, "scope-1", ses_cd_segments={"ileum": segment(2, 2, 2, 0)}),
        visit(70, "scope-2", ses_cd_segments={"ileum": segment(0, 0, 0, 0)}),
    )  # fmt: skip
    rows = [row for row in records(folder, "ADRS") if row["AVISIT"] == "Week 12"]
    remission = only(rows, PARAMCD="CLINREM", DTYPE="")
    assert remission == {
        "STUDYID": "WEEK12", "USUBJID": "WEEK12-site-a-W12-0001", "SUBJID": "W12-0001", "SITEID": "site-a",
        "TRTA": "upadacitinib", "TRTSDT": "2024-01-01", "PARAMCD": "CLINREM", "PARAM": "Clinical Remission",
        "AVISIT": "Week 12", "AVISITN": "12.0", "DTYPE": "", "AVAL": "1", "AVALC": "Y", "ADT": on(80).isoformat(),
        "ADY": "81", "SRCVAL": "149.5", "SRCCMP": "", "BASE": "300", "BASECMP": "", "BASEDT": on(-3).isoformat(),
        "AWTARGET": "85", "AWLO": "71", "AWHI": "99", "POPFL": "Y", "ANL01FL": "Y", "STATUS": "final", "REASON": "",
        "SRCRECS": "site-a/visit--3 site-a/visit-80", "PROTOCOL": "fu2025", "PROTVER": remission["PROTVER"],
    }  # fmt: skip
    assert said(only(rows, PARAMCD="CLINREM", DTYPE="NRI"), "AVAL", "ANL01FL") == ["1", "Y"]
    healing = only(rows, PARAMCD="MUCHEAL", DTYPE="")
    assert said(healing, "AVALC", "SRCVAL", "BASE", "AWLO", "AWHI") == ["Y", "0", "6", "57", "127"]
    crp = only(rows, PARAMCD="CRPNORM", DTYPE="")
    assert said(crp, "AVAL", "AVALC", "POPFL", "ANL01FL", "REASON") == ["", "", "N", "N", "no_baseline"]


def test_a_failure_of_missing_values_is_an_extra_record_and_unknown_stays_empty(
    small: Callable[..., Path],
) -> None:
    rows = records(small(enrolment(), start(0), visit(-3, cdai=300)), "ADRS")
    observed = only(rows, PARAMCD="CLINREM", AVISIT="Week 12", DTYPE="")
    failed = only(rows, PARAMCD="CLINREM", AVISIT="Week 12", DTYPE="NRI")
    assert said(observed, "AVAL", "AVALC", "ANL01FL", "STATUS", "REASON") == ["", "", "N", "missed", "missed"]
    assert said(failed, "AVAL", "AVALC", "ANL01FL") == ["0", "N", "Y"]


def test_an_open_window_counts_in_nothing(small: Callable[..., Path]) -> None:
    events = (enrolment(), start(0), visit(-3, cdai=300), visit(75, cdai=100))
    rows = records(small(*events, offset=80), "ADRS")
    wanted = [row for row in rows if row["PARAMCD"] == "CLINREM" and row["AVISIT"] == "Week 12"]
    assert [said(row, "DTYPE", "AVAL", "POPFL", "ANL01FL", "STATUS") for row in wanted] == [
        ["", "1", "Y", "N", "provisional"]
    ]


def test_laboratory_results_have_baseline_change_range_and_visit(small: Callable[..., Path]) -> None:
    folder = small(
        enrolment(), start(0),
        lab("crp", -20, 24, ref_high=5), lab("crp", -5, 20, ref_high=5), lab("crp", 30, 12.5, ref_high=5),
        lab("crp", 84, "<5", ref_high=5), lab("alt", -100, 30, unit="U/L", ref_low=10, ref_high=40),
        lab("alt", 80, 9, unit="U/L", ref_low=10, ref_high=40), lab("alt", 99, 10, unit="U/L", ref_low=10, ref_high=40),
    )  # fmt: skip
    rows = records(folder, "ADLB")
    columns = ("ADY", "AVISIT", "AVALC", "AVALCMP", "BASE", "CHG", "PCHG", "ANRIND", "ABLFL", "ANL01FL")
    assert [said(row, *columns) for row in rows if row["PARAMCD"] == "CRP"] == [
        ["-20", "", "24", "", "20", "", "", "HIGH", "", ""],
        ["-5", "Baseline", "20", "", "20", "", "", "HIGH", "Y", "Y"],
        [
            "31",
            visit_of(rows, "31"),
            "12.5",
            "",
            "20",
            "-7.5",
            "-37.5",
            "HIGH",
            "",
            "Y" if visit_of(rows, "31") else "",
        ],
        ["85", "Week 12", "<5", "<", "20", "", "", "NORMAL", "", "Y"],
    ]
    assert [said(row, *columns) for row in rows if row["PARAMCD"] == "ALT"] == [
        ["-100", "Baseline", "30", "", "30", "", "", "NORMAL", "Y", ""],
        ["81", "Week 12", "9", "", "30", "-21", "-70.0", "LOW", "", ""],
        ["100", visit_of(rows, "100"), "10", "", "30", "-20", str(100 * -20 / 30), "NORMAL", "", ""],
    ]
    assert {row["PARAM"] for row in rows} == {"C-Reactive Protein (mg/L)", "Alanine Aminotransferase (U/L)"}


def visit_of(rows: list[Row], day: str) -> str:
    """The visit of a record between those of baseline and week 12, which a protocol may have or not."""
    name = only(rows, ADY=day)["AVISIT"]
    assert name != "Week 12"
    return name


def test_grades_of_laboratory_results_stand_beside_them(small: Callable[..., Path]) -> None:
    folder = small(enrolment(), start(0), lab("lymphocytes", -5, 0.9), lab("lymphocytes", 50, 0.45))
    # CTCAE 5.0, without the laboratory's limit: below 0.8 is grade 2, below 0.5 grade 3
    assert said(records(folder, "ADLB")[1], "PARAMCD", "ATOXGR", "ATOXDIR") == ["LYM", "3", "LOW"]


def test_an_adverse_event_is_a_record_of_adae(small: Callable[..., Path]) -> None:
    folder = small(
        enrolment(), start(0),
        adverse_event(10, "ae", term="Herpes zoster", grade=4, serious=True, resolved_on=on(20).isoformat(),
                      seriousness=["hospitalisation", "disability"], related="possible", outcome="sequelae",
                      action_taken="dose_increased", aware_on=on(11).isoformat(), meddra_pt="Herpes zoster",
                      meddra_code="10019974", expected=True),
        adverse_event(-5, "before", grade=1, outcome="not_recovered", action_taken="not_applicable"),
    )  # fmt: skip
    before, zoster = records(folder, "ADAE")
    assert zoster == {
        "STUDYID": "WEEK12", "USUBJID": "WEEK12-site-a-W12-0001", "SUBJID": "W12-0001", "SITEID": "site-a",
        "TRTA": "upadacitinib", "TRTSDT": "2024-01-01", "AESEQ": "2", "AETERM": "Herpes zoster",
        "AEDECOD": "Herpes zoster", "AEPTCD": "10019974", "AESTDTC": "2024-01-11", "ASTDT": "2024-01-11", "ASTDY": "11",
        "AENDT": "2024-01-21", "AENDY": "21", "AWAREDT": "2024-01-12", "AETOXGR": "4", "AESEV": "SEVERE", "AESER": "Y",
        "AESDTH": "N", "AESLIFE": "N", "AESHOSP": "Y", "AESDISAB": "Y", "AESCONG": "N", "AESMIE": "N",
        "AEREL": "POSSIBLE", "AEEXPFL": "Y", "AEACN": "DOSE INCREASED", "AEOUT": "RECOVERED/RESOLVED WITH SEQUELAE",
        "TRTEMFL": "Y", "AESIFL": zoster["AESIFL"], "AESICAT": zoster["AESICAT"], "SRCREC": "site-a/ae",
    }  # fmt: skip
    wanted = ("AESEQ", "ASTDY", "AESEV", "AESER", "AEEXPFL", "AEOUT", "AEACN", "TRTEMFL")
    assert said(before, *wanted) == [
        "1", "-5", "MILD", "N", "", "NOT RECOVERED/NOT RESOLVED", "NOT APPLICABLE", "N",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("precision", "onset", "text", "day"),
    [("day", date(2024, 3, 1), "2024-03-01", "61"), ("month", date(2024, 3, 1), "2024-03", ""),
     ("year", date(2024, 1, 1), "2024", "")],
)  # fmt: skip
def test_a_partial_date_is_not_imputed(
    small: Callable[..., Path], precision: str, onset: date, text: str, day: str
) -> None:
    event = adverse_event((onset - on(0)).days, onset_precision=precision)
    (row,) = records(small(enrolment(), start(0), event), "ADAE")
    assert said(row, "AESTDTC", "ASTDY", "ASTDT") == [text, day, text if day else ""]


def test_a_record_of_another_site_stands_under_its_patient(small: Callable[..., Path]) -> None:
    folder = small(
        enrolment(), start(0), lab("crp", 10, 3, site_id="site-b"), adverse_event(5, site_id="site-b")
    )
    for name in ("ADLB", "ADAE"):
        (row,) = records(folder, name)
        assert said(row, "SITEID", "USUBJID") == ["site-a", "WEEK12-site-a-W12-0001"]
        assert row["SRCREC"].startswith("site-b/")


# -- sums --------------------------------------------------------------------------------------------------------


def test_the_flagged_records_give_the_rates(cohort: Path) -> None:
    counted: dict[tuple[str, str], list[int]] = {}
    for row in records(cohort / "all", "ADRS"):
        if row["ANL01FL"] == "Y" and row["AVISIT"] == "Week 12":
            n = counted.setdefault((row["PARAMCD"], row["DTYPE"]), [0, 0])
            n[0] += row["AVAL"] == "1"
            n[1] += 1
    observed = {code: tuple(n) for (code, kind), n in counted.items() if not kind}
    published = {
        "CLINRESP": (41, 77), "CLINREM": (33, 77), "ENDORESP": (9, 18), "ENDOREM": (7, 18), "MUCHEAL": (5, 18),
        "CRPNORM": (37, 59), "ESRNORM": (39, 55), "FCALNORM": (8, 27),
    }  # fmt: skip
    assert observed | published == observed
    assert counted["CLINREM", "NRI"] == [33, 94]


def test_the_sums_are_those_of_the_rates_of_every_endpoint_and_estimand(cohort: Path) -> None:
    with duckdb.connect(str(cohort / "outcomes.duckdb"), read_only=True) as con:
        rates = con.execute(
            "SELECT timepoint, endpoint, estimand, n, denominator FROM cohort_rates "
            "WHERE site_id IS NULL AND denominator > 0"
        ).fetchall()
    with duckdb.connect() as con:
        found = con.execute(
            "SELECT PARAM, AVISITN, coalesce(DTYPE, ''), sum(AVAL)::BIGINT, count(*) FROM read_parquet($1) "
            "WHERE ANL01FL = 'Y' GROUP BY ALL",
            [str(cohort / "all" / "adrs.parquet")],
        ).fetchall()
    kinds = {"observed": "", "nri": "NRI", "locf": "LOCF"}
    assert sorted((kinds[estimand], n, total) for _, _, estimand, n, total in rates) == sorted(
        (kind, n, total) for _, _, kind, n, total in found
    )


@pytest.mark.parametrize("data_set", DATA_SETS.values(), ids=lambda d: d.name)
def test_keys_tell_records_apart_and_the_sql_gives_the_variables(data_set: DataSet, cohort: Path) -> None:
    rows = records(cohort / "all", data_set.name)
    keys = [tuple(row[key] for key in data_set.keys) for row in rows]
    assert len(set(keys)) == len(rows) > 0
    assert list(rows[0]) == [variable.name for variable in data_set.variables]
    aliases = re.findall(r"\bAS ([A-Z][A-Z0-9]{1,7})\b(?! \()", data_set.sql)
    assert set(rows[0]) <= set(aliases)


def test_every_patient_of_the_other_data_sets_is_in_adsl(cohort: Path) -> None:
    patients = {row["USUBJID"]: row["TRTSDT"] for row in records(cohort / "all", "ADSL")}
    assert len(patients) == 94
    for name in ("ADRS", "ADLB", "ADAE"):
        assert all(patients[row["USUBJID"]] == row["TRTSDT"] for row in records(cohort / "all", name))


# -- the formats say the same to other readers ---------------------------------------------------------------------


@pytest.mark.parametrize("data_set", DATA_SETS.values(), ids=lambda d: d.name)
def test_parquet_says_what_csv_says(data_set: DataSet, cohort: Path) -> None:
    with duckdb.connect() as con:
        path = str(cohort / "all" / f"{data_set.name.lower()}.parquet")
        found = con.execute("FROM read_parquet($1)", [path])
        assert [column[0] for column in found.description] == [v.name for v in data_set.variables]
        rows = found.fetchall()
        types = dict(con.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{path}')").fetchall())
    wanted = {
        "text": "VARCHAR",
        "integer": "BIGINT",
        "decimal": "DECIMAL(18,9)",
        "float": "DOUBLE",
        "date": "DATE",
    }
    assert types == {v.name: wanted[v.type] for v in data_set.variables}
    assert [[_text(value) for value in row] for row in rows] == [
        list(row.values()) for row in records(cohort / "all", data_set.name)
    ]


def test_parquet_carries_the_labels(cohort: Path) -> None:
    with duckdb.connect() as con:
        path = str(cohort / "all" / "adsl.parquet")
        about = dict(con.execute("SELECT key, value FROM parquet_kv_metadata($1)", [path]).fetchall())
    assert about[b"label"] == b"Subject-Level Analysis Dataset"
    assert about[b"protocol"] == b"fu2025"
    assert about[b"as_of"] == b"2025-02-28"


@pytest.mark.parametrize("data_set", DATA_SETS.values(), ids=lambda d: d.name)
def test_dataset_json_holds_to_the_schema_and_reads_back(data_set: DataSet, cohort: Path) -> None:
    path = cohort / "all" / f"{data_set.name.lower()}.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    order = [name for name in SCHEMA["properties"] if name in document]
    assert list(document) == order, "the standard recommends its order of attributes"
    read = DatasetJSON.read_json(str(path))
    assert read.name == data_set.name
    assert read.records == len(read.rows) == len(document["rows"])
    assert [(c.name, c.label) for c in read.columns] == [(v.name, v.label) for v in data_set.variables]
    keys = sorted((c.keySequence, c.name) for c in read.columns if c.keySequence)
    assert tuple(name for _, name in keys) == data_set.keys
    assert [[_text(value) for value in row] for row in read.rows] == [
        list(row.values()) for row in records(cohort / "all", data_set.name)
    ]
    kinds = {"string": str, "decimal": str, "date": str, "integer": int, "double": float}
    for row in document["rows"]:
        for value, column in zip(row, document["columns"], strict=True):
            assert value is None or type(value) is kinds[column["dataType"]], column["name"]


def test_the_schema_refuses_what_the_standard_does_not_know(cohort: Path) -> None:
    good = json.loads((cohort / "all" / "adae.json").read_text(encoding="utf-8"))
    column = good["columns"][0]
    for wrong in [
        {**good, "datasetJSONVersion": "1.0.0"},
        {**good, "records": -1},
        {**good, "more": 1},
        {name: value for name, value in good.items() if name != "itemGroupOID"},
        {**good, "columns": [{**column, "dataType": "text"}]},
        {**good, "columns": [{**column, "dataType": "decimal"}]},
        {**good, "columns": [{**column, "targetDataType": "integer"}]},
        {**good, "rows": [[{}]]},
        {**good, "datasetJSONCreationDateTime": "2025-13-01T00:00:00"},
    ]:
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(wrong)


@pytest.mark.parametrize("data_set", DATA_SETS.values(), ids=lambda d: d.name)
def test_a_transport_file_reads_back_with_another_library(data_set: DataSet, cohort: Path) -> None:
    path = cohort / "all" / f"{data_set.name.lower()}.xpt"
    assert path.read_bytes()[:80].startswith(b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!")  # version 5
    frame = pd.read_sas(path, format="xport", encoding="ascii")
    rows = records(cohort / "all", data_set.name)
    assert list(frame.columns) == list(rows[0])
    assert len(frame) == len(rows)
    for variable in data_set.variables:
        read = ["" if pd.isna(value) else value for value in frame[variable.name]]
        assert read == [_sas(row[variable.name], variable.type) for row in rows], variable.name
    _, about = pyreadstat.read_xport(str(path), metadataonly=True)
    assert about.column_names_to_labels == {v.name: v.label for v in data_set.variables}
    assert (about.table_name, about.file_label) == (data_set.name, data_set.label)
    dates = {v.name for v in data_set.variables if v.type == "date"}
    assert {name for name, kind in about.original_variable_types.items() if kind == "DATE9"} == dates


def _text(value: Any) -> str:
    """A value as CSV has it."""
    if isinstance(value, Decimal):
        return f"{value:f}".rstrip("0").rstrip(".")
    return "" if value is None else str(value)


def _sas(text: str, kind: str) -> Any:
    """What stands in CSV, as a transport file holds it."""
    if not text or kind == "text":
        return text
    return (
        float((date.fromisoformat(text) - EPOCH).days)
        if kind == "date"
        else pytest.approx(float(text), rel=1e-15)
    )


def test_all_variables_are_listed_beside_the_files(cohort: Path) -> None:
    with (cohort / "all" / "variables.csv").open(encoding="utf-8", newline="") as file:
        listed = [(row["dataset"], row["variable"], row["label"]) for row in csv.DictReader(file)]
    assert listed == [(d.name, v.name, v.label) for d in DATA_SETS.values() for v in d.variables]


# -- days, protocols, erasure --------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", [CUT - timedelta(days=d) for d in (1, 120, 300)])
def test_as_of_a_day_is_what_stores_of_that_day_give(cohort: Path, tmp_path: Path, day: date) -> None:
    then = exported(tmp_path / "then", stores(tmp_path / "stores", cohort_events(), day), "--format", "csv")
    now = exported(tmp_path / "now", cohort, "--format", "csv", "--as-of", day.isoformat())
    for name in DATA_SETS:
        assert (now / f"{name.lower()}.csv").read_bytes() == (then / f"{name.lower()}.csv").read_bytes(), name


def test_erased_and_retracted_records_are_in_no_file(tmp_path: Path) -> None:
    gone = [
        {**event, "patient_id": "W12-0666"}
        for event in (
            enrolment(event_id="x-1"), start(0, event_id="x-2"), visit(-3, "x-3", cdai=300), lab("crp", 3, 9, "x-4"),
            adverse_event(4, "x-5"), consent("erase", 150, "x-6"),
        )
    ]  # fmt: skip
    wrong = lab("crp", 5, 8, "withdrawn-record")
    events = [enrolment(), start(0), wrong, retraction(wrong, 2), lab("crp", 6, 7), *gone]
    folder = exported(
        tmp_path / "out", stores(tmp_path / "stores", events, on(200)), "--format", "csv,dataset-json,xpt"
    )
    for path in folder.iterdir():
        assert b"W12-0666" not in path.read_bytes(), path.name
        assert b"withdrawn-record" not in path.read_bytes(), path.name
    assert len(records(folder, "ADSL")) == len(records(folder, "ADLB")) == 1


def test_stores_without_patients_give_files_without_records(tmp_path: Path) -> None:
    folder = exported(tmp_path / "out", stores(tmp_path / "stores", [], on(200)), "--format", FORMATS)
    for name in DATA_SETS:
        assert records(folder, name) == []
        document = json.loads((folder / f"{name.lower()}.json").read_text(encoding="utf-8"))
        assert (document["records"], document["rows"]) == (0, [])
        jsonschema.Draft202012Validator(SCHEMA).validate(document)
        frame, about = pyreadstat.read_xport(str(folder / f"{name.lower()}.xpt"))
        assert (len(frame), about.column_names) == (0, [v.name for v in DATA_SETS[name].variables])


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "problem"),
    [
        ("Fièvre", "ADAE.AETERM has 1 not in ASCII"),
        ("发热", "ADAE.AETERM has 1 not in ASCII"),
        ("x" * 201, "ADAE.AETERM has 1 of more than 200 bytes"),
    ],
)
def test_what_a_transport_file_cannot_hold_is_refused_without_being_shown(
    tmp_path: Path, term: str, problem: str
) -> None:
    store = stores(tmp_path / "stores", [enrolment(), start(0), adverse_event(3, term=term)], on(200))
    result = run(tmp_path / "out", store, "--format", "csv,xpt")
    assert result.exit_code == 1
    assert problem in result.stderr
    assert term not in result.stderr
    assert result.stderr.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []
    others = exported(tmp_path / "out", store, "--format", "csv,dataset-json,parquet")
    assert records(others, "ADAE")[0]["AETERM"] == term


def test_a_text_of_200_bytes_fits(tmp_path: Path) -> None:
    store = stores(tmp_path / "stores", [enrolment(), start(0), adverse_event(3, term="x" * 200)], on(200))
    folder = exported(tmp_path / "out", store, "--format", "xpt")
    assert list(pd.read_sas(folder / "adae.xpt", format="xport", encoding="ascii")["AETERM"]) == ["x" * 200]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--format", "csv,excel"], 2, "choose from parquet, csv, dataset-json, xpt"),
        (["--format", ""], 2, "choose from"),
        (["--study", "My study"], 2, "--study"),
        (["--protocol", "unheard_of"], 1, "--protocol unheard_of: the stores hold fu2025"),
        (["--as-of", "2025-03-01"], 1, "--as-of 2025-03-01: the stores are as of 2025-02-28"),
        (["--as-of", "2025-02-30"], 2, "--as-of"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    cohort: Path, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    result = run(tmp_path / "out", cohort, *options)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_files_that_are_there_are_kept_unless_told(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "adlb.csv").write_text("mine")
    result = run(tmp_path, cohort, "--format", "csv")
    assert (result.exit_code, (tmp_path / "adlb.csv").read_text()) == (1, "mine")
    assert "adlb.csv exists" in result.stderr
    exported(tmp_path, cohort, "--format", "csv", "--force")
    assert len(records(tmp_path, "ADLB")) > 1000


def test_both_stores_are_needed(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "outcomes.duckdb").write_bytes((cohort / "outcomes.duckdb").read_bytes())
    result = run(tmp_path / "out", tmp_path)
    assert result.exit_code == 1
    assert "safety.duckdb is missing" in result.stderr


def test_the_study_names_every_record(cohort: Path, tmp_path: Path) -> None:
    folder = exported(tmp_path, cohort, "--format", "csv", "--study", "MYREG")
    assert {row["STUDYID"] for row in records(folder, "ADAE")} == {"MYREG"}
    assert all(row["USUBJID"].startswith("MYREG-") for row in records(folder, "ADAE"))
