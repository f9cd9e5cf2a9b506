"""A backup is whole or it is refused, and it never replaces another."""

from datetime import date
from pathlib import Path

import duckdb
import pytest
from stores import OUTCOMES, open_store

from services.local.backup import back_up, read_backup
from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings
from services.stream.store import BLOCK_BYTES


def test_a_backup_that_is_not_as_it_was_made_is_refused(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    open_store(OUTCOMES, date(2025, 1, 1), tmp_path / "data" / "outcomes.duckdb").close()
    folder = tmp_path / "backup"
    made = back_up(settings, folder, None)
    assert read_backup(folder) == made
    assert (made["outcomes"].today, made["outcomes"].events) == ("2025-01-01", 0)
    assert folder.stat().st_mode & 0o077 == 0
    with duckdb.connect(folder / "outcomes.duckdb", read_only=True) as con:
        assert con.execute("SELECT block_size FROM pragma_database_size()").fetchone() == (BLOCK_BYTES,)
    with pytest.raises(OperatorError, match="exists"):
        back_up(settings, folder, None)
    with (folder / "outcomes.duckdb").open("r+b") as file:
        file.seek(5_000)
        file.write(b"x")
    with pytest.raises(OperatorError, match="not as it was backed up"):
        read_backup(folder)
    with pytest.raises(OperatorError, match="holds no backup"):
        read_backup(tmp_path)
