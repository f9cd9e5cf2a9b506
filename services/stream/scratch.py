"""The temporary tables that a batch is worked on in, and the plans that small batches fill them by."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

import duckdb

DATA_DEPENDENT = "statistics_propagation,compressed_materialization"
"""Optimisers that read the tables' contents: DuckDB does not notice when those change under a prepared plan."""


class Scratch:
    """Temporary tables of one connection.

    Planning a statement costs more than what it does for a few events. So small batches fill tables that stay, by
    plans prepared once; all others make every table anew. Used in the writing thread alone.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con
        self._plans: set[str] = set()
        self.small: bool | None = False
        """Whether batches are small; None while the way of working changes."""
        self.rows: dict[str, int] = {}
        """How many rows a table has, as far as it is known."""
        self._rehearsing = False

    def run(self, name: str, sql: str) -> int:
        """Run a statement, in a small batch from a plan of that name. Returns how many rows it changed."""
        if self.small:
            if name not in self._plans:
                self._con.execute(f"PREPARE {name} AS {sql}")
                self._plans.add(name)
            if self._rehearsing:
                return 1
            sql = f"EXECUTE {name}"
        rows: list[tuple[int]] = self._con.execute(sql).fetchall()
        return rows[0][0]

    def fill(self, table: str, sql: str) -> int:
        """Fill a table with a query; in a small batch without making it anew. Returns how many rows."""
        if self.small:
            self.rows[table] = self.run(f"fill_{table}", f"INSERT INTO temp.{table} {sql}")
        else:
            self.rows[table] = self.run(f"make_{table}", f"CREATE OR REPLACE TEMP TABLE {table} AS {sql}")
        return self.rows[table]

    def make_empty(self, table: str, sql: str) -> None:
        """Make a table of a query's columns, without rows."""
        if self.small:
            self.rows[table] = 0
        else:
            self.fill(table, sql)

    def leave_out(self, table: str) -> None:
        """Have no rows in a table that this batch does not need."""
        self.rows[table] = 0
        if not self.small:
            self._con.execute(f"DROP TABLE IF EXISTS temp.{table}")

    def leave_empty(self) -> None:
        """Take all rows out again, before a small batch commits.

        A commit copies what a transaction has put into a table, but for rows that it has taken out again; and what is
        deleted later stays in memory.
        """
        for table, rows in self.rows.items():
            if rows:
                self.run(f"clear_{table}", f"DELETE FROM temp.{table}")
                self.rows[table] = 0

    def become(self, kind: str, name: str, sql: str) -> None:
        """Make a TABLE of what was a VIEW, or the other way round."""
        other = {"TABLE": "VIEW", "VIEW": "TABLE"}[kind]
        with suppress(duckdb.CatalogException):  # it is one already
            self._con.execute(f"DROP {other} IF EXISTS temp.{name}")
        self._con.execute(f"CREATE OR REPLACE TEMP {kind} {name} AS {sql}")

    @contextmanager
    def changing(self, *, small: bool) -> Iterator[Self]:
        """Within, the tables are made what they have to be; afterwards batches are small, or not.

        A plan must hold for whatever the tables come to contain: so it may not be made from what they contain.
        """
        self.forget_plans()
        self.small = None
        yield self
        self._con.execute(f"SET disabled_optimizers = '{DATA_DEPENDENT if small else ''}'")
        self.small = small

    @contextmanager
    def rehearsing(self) -> Iterator[None]:
        """Within, statements are planned and not run, as if each had found a row."""
        self._rehearsing = True
        try:
            yield
        finally:
            self._rehearsing = False
            self.rows = dict.fromkeys(self.rows, 0)

    def forget_plans(self) -> None:
        """Plans do not outlive the tables they were made for."""
        for name in self._plans:
            self._con.execute(f"DEALLOCATE {name}")
        self._plans.clear()
