"""The files of both stores as one read-only database, in which every name of either means what it should."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from services.runtime.cut import Cut
from services.runtime.errors import OperatorError

STORES = ("outcomes", "safety")
"""In the order in which a name that both have is looked up."""
DATED = re.compile("_(at|known)$")
"""What macros add to the name of the relation whose rows they give."""


def open_stores(
    paths: Mapping[str, Path], sql: str | None = None, **limits: str
) -> duckdb.DuckDBPyConnection:
    """A connection that reads the stores at `paths` (name -> file) and can do nothing else.

    `limits`: settings of DuckDB, such as `memory_limit`. Raises OperatorError where a file is no store.
    """
    con = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false", **limits})
    try:
        for name, path in paths.items():
            _attach(con, name, path)
        con.execute("SET TimeZone = 'UTC'")
        con.execute("SET enable_progress_bar = false")  # it would go to standard output
        con.execute("SET enable_external_access = false")
        con.execute(f"SET search_path = '{','.join(f'{name}.main' for name in paths)}'")
        for name in list(paths)[1:]:
            _bind_macros_to(con, name, sql)
        con.execute("SET lock_configuration = true")
    except BaseException:
        con.close()
        raise
    return con


def move_to(con: duckdb.DuckDBPyConnection, cut: Cut, sql: str | None = None) -> None:
    """Let the plain name of everything that has macros `…_at` and `…_known` mean its rows at `cut`.

    `sql`: the query that will be asked, for views that it cannot mean need not be made.
    """
    macros = con.execute(
        "SELECT DISTINCT regexp_replace(function_name, '_known$', '') FROM duckdb_functions() "
        "WHERE function_type = 'table_macro' AND parameters = ['as_of', 'known_at']"
    ).fetchall()
    for (name,) in macros:
        if _may_mean(sql, name):
            con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS FROM {cut.source(name)}")


def _may_mean(sql: str | None, name: str) -> bool:
    return sql is None or name.lower() in sql.lower()


def cut_of(con: duckdb.DuckDBPyConnection, as_of: date | None, known_at: date | None) -> Cut | None:
    """The cut that two optional days mean in open stores: by default as of their today, from all that is known."""
    if as_of is None and known_at is None:
        return None
    return Cut(as_of or con.execute("SELECT today FROM clock").fetchall()[0][0], known_at)


def one_line(error: Exception) -> str:
    """What DuckDB says before it shows the query again."""
    first = str(error).strip().split("\n\n")[0]
    return re.sub(r"\s+", " ", first)


def _attach(con: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    try:
        con.execute(f"ATTACH '{str(path).replace(chr(39), chr(39) * 2)}' AS {name} (READ_ONLY)")
    except duckdb.Error as error:
        if "lock" in str(error).lower():
            raise OperatorError(f"{path} is in use: try again when {name} is up, or stopped") from None
        raise OperatorError(f"{path} cannot be opened as a store: {one_line(error)}") from None


def _bind_macros_to(con: duckdb.DuckDBPyConnection, store: str, sql: str | None) -> None:
    """Let the table macros of a store read that store's own tables.

    DuckDB looks names up where a macro is called, not where it stands, so that `events` would mean those of
    the store that comes first.
    """
    own = frozenset(
        name
        for (name,) in con.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = $1 "
            "UNION SELECT view_name FROM duckdb_views() WHERE database_name = $1",
            [store],
        ).fetchall()
    )
    macros = con.execute(
        "SELECT function_name, parameters, json_serialize_sql(macro_definition)::VARCHAR FROM duckdb_functions() "
        "WHERE function_type = 'table_macro' AND database_name = ?",
        [store],
    ).fetchall()
    forms: dict[str, list[str]] = defaultdict(list)
    for name, parameters, serialised in macros:
        if not _may_mean(sql, DATED.sub("", name)):
            continue
        tree = json.loads(serialised)
        _qualify(tree, store, own)
        (body,) = con.execute("SELECT json_deserialize_sql($1::JSON)", [json.dumps(tree)]).fetchall()[0]
        forms[name].append(f"({', '.join(parameters)}) AS TABLE {body}")
    for name, overloads in forms.items():
        con.execute(f"CREATE TEMP MACRO {name}{', '.join(overloads)}")


def _qualify(tree: Any, store: str, own: frozenset[str], hidden: frozenset[str] = frozenset()) -> None:
    """Name the store in a query's syntax tree before its `own` tables, where no WITH has `hidden` the name."""
    if isinstance(tree, list):
        for child in tree:
            _qualify(child, store, own, hidden)
    if not isinstance(tree, dict):
        return
    for entry in tree.get("cte_map", {}).get("map", ()):
        _qualify(entry, store, own, hidden)  # itself may still read what it is going to hide
        hidden |= {entry["key"]}
    if tree.get("type") == "BASE_TABLE" and not tree["schema_name"] and tree["table_name"] in own - hidden:
        tree["catalog_name"], tree["schema_name"] = store, "main"
    for name, child in tree.items():
        if name != "cte_map":
            _qualify(child, store, own, hidden)
