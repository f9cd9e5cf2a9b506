"""Derives the data sets from open stores, as Arrow batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import duckdb
import pyarrow as pa

from services.export.definition import HERE, DataSet, value_sets
from services.query.stores import move_to
from services.runtime.cut import Cut
from services.runtime.errors import OperatorError

BATCH_ROWS = 50_000


@dataclass(frozen=True)
class Asked:
    """What an export is of: the study's name, the protocol, the day it is as of, and when that was known."""

    study: str
    protocol: str
    as_of: date
    known_at: date | None = None

    @property
    def cut(self) -> str:
        """The data cut, as file identifiers name it."""
        return f"{self.as_of}.known-{self.known_at}" if self.known_at else str(self.as_of)


def prepare(
    con: duckdb.DuckDBPyConnection,
    study: str,
    protocol: str | None,
    as_of: date | None,
    known_at: date | None = None,
) -> Asked:
    """Let `con` (see `open_stores`) know what the data sets' SQL refers to; None: the first protocol, today, all known.

    Raises OperatorError for a store that is missing, a protocol that is not evaluated, or a day to come.
    """
    attached = {name for (name,) in con.execute("SELECT database_name FROM duckdb_databases()").fetchall()}
    for store in ("outcomes", "safety"):
        if store not in attached:
            raise OperatorError(f"{store}.duckdb is missing: an export needs both stores")
    evaluated = [
        name for (name,) in con.execute("SELECT protocol FROM protocols ORDER BY evaluated").fetchall()
    ]
    if protocol and protocol not in evaluated:
        raise OperatorError(f"--protocol {protocol}: the stores hold {', '.join(evaluated)}")
    today: date = con.execute("SELECT today FROM clock").fetchall()[0][0]
    if as_of and as_of > today:
        raise OperatorError(f"--as-of {as_of}: the stores are as of {today}, and nobody knows later events")
    asked = Asked(study, protocol or evaluated[0], as_of or today, known_at)
    columns = [list(column) for column in zip(*value_sets(), strict=True)]
    con.execute(
        "CREATE TEMP TABLE value_sets AS "
        "SELECT unnest($1) AS list, unnest($2) AS word, unnest($3) AS code, unnest($4) AS term",
        columns,
    )
    con.execute(
        "CREATE TEMP TABLE asked AS SELECT $1 AS study, $2 AS protocol", [asked.study, asked.protocol]
    )
    if as_of or known_at:
        move_to(con, Cut(asked.as_of, known_at))
    for name in ("macros", "protocol"):
        con.execute((HERE / "sql" / f"{name}.sql").read_text(encoding="utf-8"))
    return asked


@contextmanager
def derived(
    con: duckdb.DuckDBPyConnection, data_set: DataSet
) -> Iterator[tuple[int, Iterator[pa.RecordBatch]]]:
    """The number of a data set's records, and the records, sorted by its keys."""
    con.execute(f"CREATE TEMP TABLE derived AS {data_set.select}")
    try:
        count: int = con.execute("SELECT count(*) FROM derived").fetchall()[0][0]
        yield count, iter(con.execute("FROM derived").to_arrow_reader(BATCH_ROWS))
    finally:
        con.execute("DROP TABLE derived")
