"""One service of week12 as a child process that never outlives this one."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from services.broker import leash
from services.runtime.places import Place

_PROGRAM = "from services.cli import main; main()"


class Child:
    """`week12 SERVICE` in a process of its own; what it writes goes to `log`.

    Must be started from the main thread: the kernel ties a child to the thread that made it.
    """

    def __init__(self, place: Place, environment: Mapping[str, str], log: Path) -> None:
        self.place = place
        self.log = log
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_starts_at = 0

    def start(self) -> None:
        """Start the process; returns at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_starts_at = log.tell()
            self._process = subprocess.Popen(  # noqa: S603
                [
                    *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid())),
                    *(sys.executable, "-P", "-c", _PROGRAM, self.place.service),
                ],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which decides the order of ending
            )

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None while it runs, negative for a signal."""
        return self._process.poll() if self._process else None

    def ready(self, client: httpx.Client) -> bool:
        """Whether it says that it can do its work."""
        return self._ask(client).get("status") == "ready"

    def unready_parts(self, client: httpx.Client) -> str:
        """What it is waiting for, as `kafka: away`; empty where it says nothing."""
        parts = self._ask(client).get("parts", {})
        return ", ".join(f"{name}: {state}" for name, state in parts.items() if state != "ok")

    def _ask(self, client: httpx.Client) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = client.get(f"{self.place.url}/health/ready").json()
        except (httpx.TransportError, ValueError):
            return {}
        return answer

    def last_error(self) -> str:
        """The one line for people with which this run of it ended; empty where there is none."""
        with self.log.open("rb") as log:
            log.seek(self._log_starts_at)
            lines = log.read().decode("utf-8", "replace").splitlines()
        errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
        return errors[-1] if errors else ""

    def ask_to_stop(self) -> None:
        """Send SIGTERM, and return at once."""
        if self.running and self._process:
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL, and return when it is gone; nothing where it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self, within: float) -> None:
        """Wait for its end, and kill it after so many seconds."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, within))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
