"""Starts a broker and the three services on this machine, keeps them running, and stops them all."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TypeAlias

import httpx

from services.broker import Broker, BrokerProblem
from services.broker.process import is_free
from services.local.child import Child
from services.runtime.errors import OperatorError
from services.runtime.memory import allocator_variables
from services.runtime.places import BRINGING_UP, Place, places
from services.runtime.settings import Settings

READY_SECONDS = 60.0
STOP_SECONDS = 13.0
"""A service may take 8 s for its streams and 3 s for open requests; it usually takes less than one."""
POLL_SECONDS = 0.05
TEND_SECONDS = 0.2
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
STEADY_SECONDS = 60.0
"""A process that ran so long has recovered: its next end is its first again."""

IN_MEMORY = {"WEEK12_SESSION_TIMEOUT_MS": "3000", "WEEK12_FETCH_MAX_WAIT_MS": "20"}
"""What suits the embedded broker: its joins take half of the session timeout, its empty fetches sleep."""

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler: TypeAlias = Callable[[int, FrameType | None], None] | signal.Handlers
Say: TypeAlias = Callable[[str], None]


def child_environment(given: Mapping[str, str], settings: Settings, broker: Broker | None) -> dict[str, str]:
    """The environment of the services: what was given, and what `settings` and an own broker say.

    With a broker of our own, settings for another Kafka's security do not hold.
    """
    environment = {**allocator_variables(), **given}
    if broker:
        environment = {name: value for name, value in environment.items() if not name.startswith("KAFKA_")}
        environment |= broker.environment
        if not broker.keeps_data:
            environment = {**IN_MEMORY, **environment}
    environment |= {
        "WEEK12_DATA_DIR": str(settings.data_dir.absolute()),
        "WEEK12_TOKENS_FILE": str(settings.tokens_path.absolute()),
        "WEEK12_HOST": settings.host,
        "WEEK12_INGEST_PORT": str(settings.ingest_port),
        "WEEK12_OUTCOMES_PORT": str(settings.outcomes_port),
        "WEEK12_SAFETY_PORT": str(settings.safety_port),
    }
    if settings.today:
        environment["WEEK12_TODAY"] = settings.today.isoformat()
    return environment


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Within, SIGTERM and a closed terminal end the program as Ctrl-C does: by KeyboardInterrupt."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    kept = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # nohup
    with _handling((signal.SIGINT, signal.SIGTERM) if kept else ENDINGS, interrupt):
        yield


@contextmanager
def _handling(numbers: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


@dataclass
class _Kept:
    """Something that is started again when it ends: how often it failed, and when to try next."""

    running: Callable[[], bool]
    start: Callable[[], None]
    why: Callable[[], str]
    started_at: float = 0.0
    failures: int = 0
    again_at: float | None = None


class Supervisor:
    """The broker, where there is one of our own, and the services: `start`, then `tend` until `stop`.

    Everything happens in the main thread. `say` gets one line for people about each thing that happens.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker | None,
        say: Say,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.broker = broker
        self._say = say
        given = os.environ if environment is None else environment
        variables = child_environment(given, settings, broker)
        logs = settings.data_dir.absolute() / "logs"
        self.children = [Child(place, variables, logs / f"{place.service}.log") for place in places(settings)]
        self._kept = [_keep(child) for child in self.children]
        if broker:
            self._kept.insert(0, _keep_broker(broker))
        self._client = httpx.Client(timeout=2, trust_env=False)

    def start(self) -> None:
        """Start everything and return when each service is ready.

        Raises OperatorError where a port is taken, or the broker or a service does not come up; what was
        started is for `stop` to end.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start all processes; returns when the broker answers, while the services are still coming up."""
        for child in self.children:
            self._check_port(child.place)
        for child in self.children:
            _set_aside(child)
            child.start()
        if self.broker:
            try:
                self.broker.start()
            except BrokerProblem as problem:
                raise OperatorError(str(problem)) from None

    def wait_until_ready(self) -> None:
        """Return when every service can do its work; raises OperatorError where one ends or takes too long.

        A store that has to be brought up to this version may take as long as that takes.
        """
        deadline = time.monotonic() + READY_SECONDS
        waiting = list(self.children)
        while waiting := [child for child in waiting if not child.ready(self._client)]:
            for child in waiting:
                if not child.running:
                    raise OperatorError(_why_ended(child))
            if time.monotonic() > deadline:
                busy = [child for child in waiting if BRINGING_UP in child.unready_parts(self._client)]
                if not busy:
                    raise OperatorError(_why_unready(waiting[0], self._client))
                self._say(f"{busy[0].place.service} is not ready yet: {busy[0].unready_parts(self._client)}")
                deadline = time.monotonic() + READY_SECONDS
            time.sleep(POLL_SECONDS)
        for kept in self._kept:
            kept.started_at = time.monotonic()

    def tend(self) -> None:
        """Start again what has ended, after a pause that grows with every failure."""
        for kept in self._kept:
            if kept.running():
                continue
            now = time.monotonic()
            if kept.again_at is None:
                self._note_end(kept, now)
            elif now >= kept.again_at:
                kept.again_at, kept.started_at = None, now
                try:
                    kept.start()
                except BrokerProblem as problem:
                    self._say(str(problem))

    def tend_for(self, seconds: float) -> None:
        """Tend until so much time has passed."""
        until = time.monotonic() + seconds
        while True:
            self.tend()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(TEND_SECONDS, left))

    def stop(self) -> None:
        """End the services, then the broker; returns when no process is left."""
        with _handling(ENDINGS, signal.SIG_IGN):  # whoever is impatient must not leave processes behind
            for child in self.children:
                child.ask_to_stop()
            deadline = time.monotonic() + STOP_SECONDS
            for child in self.children:
                child.end(deadline - time.monotonic())
            if self.broker:
                self.broker.stop()
            self._client.close()

    def _check_port(self, place: Place) -> None:
        if not is_free(place.port):
            raise OperatorError(
                f"port {place.port} for {place.service} is taken: stop what listens there, "
                f"or choose another with --{place.service}-port"
            )

    def _note_end(self, kept: _Kept, now: float) -> None:
        if now - kept.started_at > STEADY_SECONDS:
            kept.failures = 0
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**kept.failures)
        kept.failures += 1
        kept.again_at = now + pause
        self._say(f"{kept.why()}: starting it again in {pause:g} s")


def _keep(child: Child) -> _Kept:
    return _Kept(lambda: child.running, child.start, lambda: _why_ended(child))


def _keep_broker(broker: Broker) -> _Kept:
    lost = "" if broker.keeps_data else ", and with it every event it held"
    return _Kept(
        lambda: broker.pid is not None,
        broker.start,
        lambda: f"the {broker.name} broker ended{lost}; see {broker.log}",
    )


def _set_aside(child: Child) -> None:
    """Each run of the supervisor has its own log; the one before stays beside it."""
    if child.log.exists():
        child.log.replace(child.log.with_suffix(".log.1"))


def _why_unready(child: Child, client: httpx.Client) -> str:
    parts = child.unready_parts(client)
    return (
        f"{child.place.service} was not ready within {READY_SECONDS:.0f} s"
        f"{f' ({parts})' if parts else ''}; see {child.log}"
    )


def _why_ended(child: Child) -> str:
    said = child.last_error()
    if said:
        return f"{child.place.service} ended: {said}; see {child.log}"
    code = child.exit_code or 0
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"{child.place.service} ended ({how}); see {child.log}"
