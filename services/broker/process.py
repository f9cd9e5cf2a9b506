"""What every broker that runs as a child process shares: starting, waiting until it answers, stopping."""

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import abstractmethod
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from services.broker.clients import connect
from services.broker.managed import HOST, OnLoopback
from services.broker.problems import BrokerProblem
from services.broker.readiness import all_led

_LEASH = Path(__file__).with_name("leash.py")
# Below the range the kernel takes for outgoing connections: a client that retries the port of a stopped
# broker could otherwise be given that very port and connect to itself.
_PORTS = range(20_000, 30_000)
_POLL_S = 0.05
_MARKS_OF_AN_ERROR = ("ERROR", "FATAL", "rror:", "xception:")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port of the loopback address that nobody listens on, and that nobody else is given while this process lives.

    What is to listen there starts later, and may be killed and started again: so a port is held by a lock on its byte
    of a file that all processes of this user share.
    """
    for _ in range(200):
        port = secrets.choice(_PORTS)
        if port not in _held and is_free(port) and _hold(port):
            return port
    raise BrokerProblem(f"no free port found between {_PORTS.start} and {_PORTS.stop}: stop what holds them")


_held: set[int] = set()


def _hold(port: int) -> bool:
    """Whether this process holds the port from now on."""
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _held.add(port)
    return True


@cache
def _locks() -> int:
    """The file of locks; never closed, since that would let go of all of them."""
    path = Path(tempfile.gettempdir(), f"week12-ports-{os.getuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def listens(address: str) -> bool:
    """Whether something takes connections at this ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def answers(bootstrap_servers: str) -> bool:
    """Whether a broker there tells a client about itself, and all its partitions take records."""
    if not listens(bootstrap_servers):
        return False
    try:
        admin = connect(
            KafkaAdminClient, {"bootstrap_servers": bootstrap_servers, "bootstrap_timeout_ms": 2_000}
        )
    except (OSError, KafkaError):
        return False
    try:
        brokers = admin.describe_cluster()["brokers"]
        return any(not broker.get("is_fenced", False) for broker in brokers) and all_led(admin)
    except KafkaError:
        return False
    finally:
        admin.close()


class ChildBroker(OnLoopback):
    """A broker on the loopback address that lives as a child of this process and never outlives it.

    ``start`` and ``stop`` may be called again and again; the port stays the same over restarts. What the
    broker writes goes to ``log`` in ``data_dir``; the log of the run before stays beside it.
    """

    name: ClassVar[str]
    keeps_data: ClassVar[bool]
    start_within_s: ClassVar[float]
    stop_within_s: ClassVar[float]

    def __init__(self, data_dir: Path, port: int | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port if port is not None else free_port()
        self.log = self.data_dir / f"{self.name}-broker.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Lay out what it needs in ``data_dir``; the command that runs it, its first part a full path."""

    def _environment(self) -> Mapping[str, str]:
        return {}

    @property
    def pid(self) -> int | None:
        """The process id of the broker itself, None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Start it and return once it answers a client; does nothing where it runs already.

        Raises BrokerUnavailable where the machine lacks something, BrokerProblem where it does not come up.
        """
        if self.pid is not None:
            return
        self.launch()
        self.wait_until_it_answers()

    def launch(self) -> None:
        """Start its process without waiting for it; for the nodes of a cluster, which need each other."""
        if threading.current_thread() is not threading.main_thread():
            # Linux ties a child to the thread that made it: the broker would die with this one.
            raise BrokerProblem("a broker must be started from the main thread")
        if not is_free(self.port):
            raise BrokerProblem(
                f"port {self.port} of {HOST} is taken: choose another one or stop what holds it"
            )
        self._make_data_dir()
        command = self._prepare()
        self._process = self._spawn(command)

    def wait_until_it_answers(self) -> None:
        """Return once it answers a client. Raises BrokerProblem where it does not, and leaves nothing running."""
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it, politely first, and return when no process is left; does nothing where none runs."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(self.stop_within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End it at once, as a crash would, and return when it is gone; does nothing where none runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def discard(self) -> None:
        """Stop it and delete all it kept, its log too."""
        self.stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def _make_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BrokerProblem(
                f"the broker's folder {self.data_dir} cannot be made ({error.strerror}): name another"
            ) from error

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with contextlib.suppress(FileNotFoundError):
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment()},
                cwd=self.data_dir,
                start_new_session=True,  # Ctrl-C reaches us alone: the broker goes last
            )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + self.start_within_s
        while not self._answers():
            if self.pid is None:
                raise BrokerProblem(
                    f"the {self.name} broker ended at once{self._last_error()}; see {self.log}"
                )
            if time.monotonic() > deadline:
                raise BrokerProblem(
                    f"the {self.name} broker did not answer within {self.start_within_s:g} s; see {self.log}"
                )
            time.sleep(_POLL_S)
        if self.pid is None:
            raise BrokerProblem(f"something else answers on port {self.port}: choose another one")

    def _answers(self) -> bool:
        return answers(self.bootstrap_servers)

    def _last_error(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if any(mark in line for mark in _MARKS_OF_AN_ERROR)]
        return f" ({errors[-1].strip()[:300]})" if errors else ""
