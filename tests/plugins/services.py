"""Fixtures that run the three services as processes, to be used, killed and restarted."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from comparison import TODAY, Contents, contents_of
from plugins.disks import small_disk

from services.broker import Broker
from services.testing import running
from services.testing.running import NAMES

__all__ = ["NAMES", "RunningServices", "small_disk"]


class RunningServices(running.RunningServices):
    """The services as everybody's tests run them, and a look at what they leave."""

    def contents(self, name: str) -> Contents:
        """Every compared table of a stopped service's store."""
        return contents_of(self.store_path(name), name)

    def left_behind(self) -> list[str]:
        """Command lines of processes that still work in this folder."""
        mark = str(self.folder).encode()
        return [
            command.decode(errors="replace").replace("\0", " ")
            for process in Path("/proc").glob("[0-9]*")
            if process.name != str(os.getpid())
            for command, environment in [(_read(process / "cmdline"), _read(process / "environ"))]
            if mark in command or mark in environment
        ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended, or is somebody else's
        return b""


@pytest.fixture
def run_services(tmp_path: Path) -> Iterator[Callable[..., RunningServices]]:
    """Starts all three services on a broker and waits until they are ready; ends them after the test."""
    made: list[RunningServices] = []

    def run(broker: Broker, *names: str, **environment: str) -> RunningServices:
        services = RunningServices(broker, tmp_path / "data", **{"WEEK12_TODAY": str(TODAY), **environment})
        made.append(services)
        services.start(*names)
        services.wait_until_ready()
        return services

    yield run
    for services in made:
        services.end()
