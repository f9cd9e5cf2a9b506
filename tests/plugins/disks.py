"""A disk so small that a test can fill it: a tmpfs, which takes root. Without it tests are skipped by name."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

CHUNK = 64 * 1024


class SmallDisk:
    """A file system of a few MiB, mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, leave: int = 0) -> None:
        """Use up all space but `leave` bytes."""
        with self._filler.open("ab") as file:
            try:
                while True:
                    os.write(file.fileno(), b"x" * CHUNK)
            except OSError:
                pass
        if leave:
            os.truncate(self._filler, max(0, self._filler.stat().st_size - leave))

    def make_room(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def mounted(path: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """A new disk of so many MiB at `path`; skips the test by name where mounting is not allowed."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk is a tmpfs, and mounting one takes root")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., SmallDisk]]:
    """Mounts disks of so many MiB, as folders of that name in `tmp_path`."""
    with ExitStack() as disks:
        yield lambda mebibytes, name="disk": disks.enter_context(mounted(tmp_path / name, mebibytes))
