"""All versions of all events as a store keeps them: a table for each event type, and the view `events` over them.

A patient's versions lie scattered over the file, and reading them costs by the rows and columns of the tables they
stand in: so each type has a table of the columns that it fills, and no others.
"""

from collections.abc import Mapping

from schemas import EventType
from services.stream.definition import StoreDefinition

DECIMAL = "DECIMAL(18, 9)"

COMMON_COLUMNS: Mapping[str, str] = {
    "patient_key": "UBIGINT",  # first 8 bytes of the MD5 of patient_id: joins on integers, not on text
    "record_key": "UBIGINT",  # the same of patient, event type, site and event id: versions compete within it
    "version": "BIGINT",
    "content": "UINTEGER",  # first 8 hex digits of the canonical JSON's SHA-256
    "retracted": "BOOLEAN",
    "recorded_at": "TIMESTAMP",  # UTC
    "received_at": "TIMESTAMP",  # UTC, when ingest received it
    "on_date": "DATE",
    "at_time": "TIME",
    "patient_id": "VARCHAR",
    "site_id": "VARCHAR",
    "event_id": "VARCHAR",
    "partition": "SMALLINT",
    "batch": "BIGINT",
}
"""Columns of every table: name -> SQL type. The view has `event_type` before them."""


def table_of(event_type: EventType) -> str:
    """The table of a type; a plain name, for the view has to find it whatever its file is attached as."""
    return f"events_{event_type}"


EVENT_TABLES = tuple(map(table_of, EventType))


def _together(prefix: str) -> str:
    return " UNION ALL BY NAME ".join(
        f"SELECT '{event_type}' AS event_type, * FROM {prefix}_{event_type}" for event_type in EventType
    )


VIEW = f"CREATE VIEW events AS {_together('events')}"

OF_DIRTY = "SELECT * FROM store.events SEMI JOIN dirty USING (patient_key)"
OF_FEW_DIRTY = (
    "WITH "
    + ", ".join(
        f"of_{event_type} AS MATERIALIZED (SELECT * FROM {table_of(event_type)} WHERE rowid IN "
        f"(SELECT rowid FROM {table_of(event_type)} SEMI JOIN dirty USING (patient_key)))"
        for event_type in EventType
    )
    + f" {_together('of')}"
)
"""The versions of the patients in `dirty`. Of few patients it is faster to find the rows by one column before all
columns are read, and to gather each type's few rows before they get the columns of all."""


SPLIT_COMMON = (
    "patient_key, record_key, version, content, retracted, recorded_at, received_at, on_date, at_time, patient_id, "
    "site_id, event_id, partition, batch"
)
"""The columns that every type had when the one table was split; later ones leave this as it is."""


def split(own: Mapping[EventType, str]) -> tuple[str, ...]:
    """The statements of a layout's step from one wide table `events` to these.

    `own` lists the columns of each type beside the common ones.
    """
    tables = (
        f"CREATE TABLE {table_of(event_type)} AS SELECT {', '.join(filter(None, (SPLIT_COMMON, names)))} "
        f"FROM events WHERE event_type = '{event_type}'"
        for event_type, names in own.items()
    )
    return (*tables, "DROP TABLE events", VIEW)


class EventTables:
    """The tables of one definition: those columns of a type that it extracts."""

    def __init__(self, definition: StoreDefinition) -> None:
        every = {**COMMON_COLUMNS, **definition.columns}
        filled = {
            event_type: {*COMMON_COLUMNS, *extract([])} for event_type, extract in definition.extract.items()
        }
        self._columns = {
            event_type: {name: kind for name, kind in every.items() if name in names}
            for event_type, names in filled.items()
        }

    @property
    def creation(self) -> str:
        """The statements that make them, empty, and the view."""
        tables = (
            f"CREATE TABLE {table_of(event_type)} ({', '.join(f'{_name(n)} {k}' for n, k in columns.items())}); "
            for event_type, columns in self._columns.items()
        )
        return f"{''.join(tables)}{VIEW}"

    def keeping(self, event_type: EventType) -> str:
        """The statement that adds what stands in `staged` of a type."""
        names = ", ".join(map(_name, self._columns[event_type]))
        return (
            f"INSERT INTO {table_of(event_type)} SELECT {names} FROM staged WHERE event_type = '{event_type}'"
        )


def _name(column: str) -> str:
    return f'"{column}"'
