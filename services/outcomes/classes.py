"""Who changes class: outcomes that come out differently under other definitions.

A class is what an outcome is counted as: its status, and whether it is met as observed, with missing as failure, and
with the last observation carried forward.
"""

from collections.abc import Sequence
from datetime import date

from services.stream.definition import Cursor

CLASSES = (
    "SELECT patient_id, site_id, protocol, timepoint, endpoint, protocol_version, status, observed, nri, locf"
)
MEASURES = ("status", "observed", "nri", "locf")

CLASS_CHANGES = """
CREATE TABLE IF NOT EXISTS class_changes (
    patient_id VARCHAR, site_id VARCHAR, protocol VARCHAR, timepoint VARCHAR, endpoint VARCHAR, measure VARCHAR,
    was VARCHAR, became VARCHAR, old_version VARCHAR, new_version VARCHAR, changed_on DATE)
"""
"""What a changed protocol file, or another version of week12, made of the outcomes there were; kept for good."""

FORGET_CLASS_CHANGES = (
    "DELETE FROM store.class_changes "
    "WHERE patient_id IN (SELECT patient_id FROM forgotten WHERE record_key IS NULL)"
)
BEFORE = "classes_before"
"""The classes under the old definitions, until those under the new ones are told: survives a kill in between."""

COUNTS = """
SELECT protocol, timepoint, endpoint, count(DISTINCT patient_id) AS patients
FROM told GROUP BY ALL ORDER BY ALL
"""

COMPARABLE = """
SELECT count(*) = len($1) FROM duckdb_columns()
WHERE database_name = 'store' AND table_name = 'endpoint_states' AND list_contains($1, column_name)
"""
"""Whether the store, perhaps of another version, has classes to compare with."""


def changes_sql(before: str, after: str, keys: Sequence[str], more: Sequence[str] = ()) -> str:
    """Rows (patient, timepoint, endpoint, measure, was, became) of two relations of classes, where both have a row.

    `keys` are what a row of one is found by in the other; of the columns `more` both values are shown.
    """
    pairs = ", ".join(
        f"struct_pack(measure := '{name}', was := b.{name}::VARCHAR, became := a.{name}::VARCHAR)"
        for name in MEASURES
    )
    differ = " OR ".join(f"b.{name} IS DISTINCT FROM a.{name}" for name in MEASURES)
    shown = "".join(f", b.{name} AS {name}_was, a.{name} AS {name}_became" for name in more)
    return (
        "SELECT a.patient_id, a.site_id, a.protocol, a.timepoint, a.endpoint, c.measure, c.was, c.became, "
        f"b.protocol_version AS old_version, a.protocol_version AS new_version{shown} "
        f"FROM ({before}) AS b JOIN ({after}) AS a USING ({', '.join(keys)}), unnest([{pairs}]) AS u(c) "
        f"WHERE ({differ}) AND c.was IS DISTINCT FROM c.became"
    )


def remember_classes(cursor: Cursor) -> None:
    """Keep the classes before definitions change, unless a run that was killed kept them already."""
    cursor.execute(CLASS_CHANGES)
    (comparable,) = cursor.execute(
        COMPARABLE, [[*MEASURES, "patient_id", "site_id", "timepoint"]]
    ).fetchall()[0]
    if comparable and not _is_there(cursor):
        cursor.execute(
            f"CREATE TABLE {BEFORE} AS {CLASSES} FROM endpoint_states JOIN protocols USING (protocol)"
        )


def take_over_classes(cursor: Cursor) -> None:
    """Note in `store` the classes that `remember_classes` noted in `old`, where it did."""
    if _is_there(cursor, "old"):
        cursor.execute(f"CREATE TABLE store.{BEFORE} AS FROM old.{BEFORE}")


def tell_class_changes(cursor: Cursor, today: date) -> list[dict[str, object]]:
    """Within a transaction: note what changed since `remember_classes`; counts by protocol, timepoint and endpoint."""
    if not _is_there(cursor):
        return []
    cursor.execute("CREATE OR REPLACE TEMP TABLE told AS FROM class_changes LIMIT 0")
    keys = ("patient_id", "protocol", "timepoint", "endpoint")
    places = cursor.execute("SELECT DISTINCT protocol, timepoint FROM schedule ORDER BY ALL").fetchall()
    for protocol, timepoint in places:
        of_place = "WHERE protocol = $protocol AND timepoint = $timepoint"
        changes = changes_sql(
            f"FROM {BEFORE} {of_place}",
            f"{CLASSES} FROM endpoint_states JOIN protocols USING (protocol) {of_place}",
            keys,
        )
        cursor.execute(
            f"INSERT INTO told SELECT *, $today FROM ({changes})",
            {"protocol": protocol, "timepoint": timepoint, "today": today},
        )
    cursor.execute("INSERT INTO class_changes FROM told")
    found = cursor.execute(COUNTS)
    names = [column[0] for column in found.description]
    counts = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    cursor.execute(f"DROP TABLE temp.told; DROP TABLE {BEFORE}")
    return counts


def _is_there(cursor: Cursor, database: str = "store") -> bool:
    found = cursor.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = ? AND table_name = ?", [database, BEFORE]
    )
    return bool(found.fetchall())
