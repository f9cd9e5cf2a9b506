"""The letters of `registry.dead-letters.v1`: which wait, what they hold, and how they are sent again.

A letter that was sent again is noted in the same topic: a record without a value whose header `replayed` names the
letter. So everybody who reads the topic knows, and nothing is ever changed in it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import orjson
from kafka import KafkaProducer
from kafka.errors import KafkaError

from schemas import parse_record_key
from schemas.topics import DEAD_LETTERS, ERASURES, EVENT_TOPICS
from services.broker import BrokerProblem
from services.broker.topics import end_offsets
from services.ingest.admission import admit
from services.ingest.body import Item
from services.ingest.records import to_record
from services.local.log_reading import read_topics
from services.runtime.clock import now
from services.runtime.erasure_key import ErasureKey
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings

REPLAYED = "replayed"
ACKNOWLEDGED_SECONDS = 30.0

_SITE = re.compile(rb'"site_id"\s*:\s*"([A-Za-z0-9._-]{1,64})"')
_PLACE = re.compile(r"(\d{1,9}):(\d{1,18})")


@dataclass(frozen=True)
class Letter:
    """One dead letter: its place in the topic, where the record stood that it is about, why, and the bytes."""

    partition: int
    offset: int
    received_at: datetime
    headers: Mapping[str, str]
    key: bytes | None
    value: bytes | None
    replayed_at: datetime | None = None

    @property
    def name(self) -> str:
        """How people name it: `partition:offset` in the dead-letter topic."""
        return f"{self.partition}:{self.offset}"

    @property
    def topic(self) -> str:
        """Where the record stood, and where a mended one belongs."""
        return self.headers.get("origin-topic", "")

    @property
    def origin(self) -> tuple[str, str, str]:
        """What tells a letter from every other, also where it was published twice."""
        return self.topic, self.headers.get("origin-partition", ""), self.headers.get("origin-offset", "")

    @property
    def code(self) -> str:
        """The reason, as the refusals' table names it."""
        return self.headers.get("error-code", "")

    @property
    def path(self) -> str:
        """The field that was wrong."""
        return self.headers.get("error-path", "")

    @property
    def site(self) -> str:
        """The centre that the key or the bytes name; empty where neither does."""
        with suppress(ValueError):
            return parse_record_key(self.key or b"").site_id
        found = _SITE.search(self.value or b"")
        return found[1].decode() if found else ""

    @property
    def day(self) -> date:
        """The day (UTC) on which the record was received."""
        return self.received_at.date()


@dataclass(frozen=True)
class Filter:
    """Which letters; None and empty mean any."""

    topics: Sequence[str] = ()
    codes: Sequence[str] = ()
    sites: Sequence[str] = ()
    first: date | None = None
    last: date | None = None
    replayed: bool = False  # those that were sent again too

    def __call__(self, letter: Letter) -> bool:
        return (
            (not self.topics or letter.topic in self.topics)
            and (not self.codes or letter.code in self.codes)
            and (not self.sites or letter.site in self.sites)
            and (self.first is None or letter.day >= self.first)
            and (self.last is None or letter.day <= self.last)
            and (self.replayed or letter.replayed_at is None)
        )


@dataclass(frozen=True)
class Attempt:
    """What became of sending a letter again: `sent`, `done before`, or `refused` with path, code and reason."""

    letter: Letter
    result: str
    code: str = ""
    path: str = ""
    reason: str = ""


# -- reading -----------------------------------------------------------------------------------------------


def read_letters(settings: Settings) -> list[Letter]:
    """All letters, in the order in which they were received; each once, without those of erased patients.

    Raises OperatorError where Kafka cannot be read.
    """
    letters: dict[tuple[str, str, str], Letter] = {}
    replayed: dict[tuple[str, str, str], datetime] = {}

    def take(records: Sequence[object]) -> None:
        for record in records:
            letter = _letter(record)
            if REPLAYED in letter.headers:
                replayed[letter.origin] = letter.received_at
            elif not letter.headers:  # taken back: its patient was erased
                for origin in [known.origin for known in letters.values() if known.key == letter.key]:
                    del letters[origin]
            else:
                letters.setdefault(letter.origin, letter)

    read_topics(settings, [DEAD_LETTERS], take)
    noted = [replace(letter, replayed_at=replayed.get(origin)) for origin, letter in letters.items()]
    return sorted(noted, key=lambda letter: (letter.received_at, letter.partition, letter.offset))


def _letter(record: object) -> Letter:
    headers = {name: text.decode(errors="replace") for name, text in record.headers}  # type: ignore[attr-defined]
    stamp = headers.get("received_at", "")
    received_ms = int(stamp) if stamp.isdecimal() else record.timestamp  # type: ignore[attr-defined]
    return Letter(
        record.partition,  # type: ignore[attr-defined]
        record.offset,  # type: ignore[attr-defined]
        datetime.fromtimestamp(min(received_ms, 253_402_300_799_000) / 1000, UTC),
        headers,
        record.key,  # type: ignore[attr-defined]
        record.value,  # type: ignore[attr-defined]
    )


def named(letters: Sequence[Letter], name: str) -> Letter:
    """The letter called `partition:offset`. Raises OperatorError where there is none."""
    if not _PLACE.fullmatch(name):
        raise OperatorError(f"{name}: name a letter as `list` does, PARTITION:OFFSET")
    for letter in letters:
        if letter.name == name:
            return letter
    raise OperatorError(
        f"there is no letter {name}: `week12 dead-letters list --replayed` shows all that are left"
    )


# -- sending again -----------------------------------------------------------------------------------------


def replay(
    settings: Settings, letters: Sequence[Letter], payload: bytes | None = None, *, dry_run: bool = False
) -> list[Attempt]:
    """Send the letters' bytes, or `payload` for the only one, through the checks of ingest to their topics.

    Sending the same twice is harmless: the record's key names the version. Each that Kafka acknowledged is noted, and
    noted ones are not sent again without a payload. Raises OperatorError where Kafka does not acknowledge: what was
    noted so far stays noted.
    """
    is_erased = _erased(settings)
    try:
        partitions = 1 + max(
            number for _, number in end_offsets(settings.kafka_python_options(), [DEAD_LETTERS])
        )
    except BrokerProblem as problem:
        raise OperatorError(str(problem)) from None
    attempts: list[Attempt] = []
    producer = (
        None
        if dry_run
        else KafkaProducer(**settings.kafka_python_options(), acks="all", enable_idempotence=False)
    )
    try:
        for letter in letters:
            attempts.append(_send_again(producer, letter, payload, is_erased, partitions))
    except KafkaError as error:
        raise OperatorError(
            f"Kafka has not acknowledged ({type(error).__name__}), after {len(attempts)} letters: "
            "run the same again, which is always right"
        ) from None
    finally:
        if producer:
            producer.close()
    return attempts


def _send_again(
    producer: KafkaProducer | None,
    letter: Letter,
    payload: bytes | None,
    is_erased: Callable[[str], bool],
    partitions: int,
) -> Attempt:
    if letter.replayed_at and payload is None:
        return Attempt(letter, "done before")
    value = letter.value if payload is None else payload
    if value is None:
        return Attempt(letter, "refused", "missing", "", "is a null record: there is nothing to send")
    try:
        data = orjson.loads(value)
    except orjson.JSONDecodeError:
        return Attempt(letter, "refused", "json_malformed", "", "is not JSON: send an edited --payload")
    (verdict,) = admit([Item(0, value, data)], lambda _: True, is_erased)
    if verdict.event is None:
        first = verdict.refusals[0]
        return Attempt(letter, "refused", first.code, first.path, first.message)
    if EVENT_TOPICS[verdict.event.event_type] != letter.topic:
        reason = f"belongs to {EVENT_TOPICS[verdict.event.event_type]}: send it through ingest"
        return Attempt(letter, "refused", "code_unknown", "event_type", reason)
    if producer:
        attempt = int(letter.headers.get("attempt", "1")) + 1
        record = to_record(
            verdict.event, verdict.content, value, partitions, [("attempt", str(attempt).encode())]
        )
        sent = producer.send(record.topic, record.value, record.key, record.headers, record.partition)
        sent.get(ACKNOWLEDGED_SECONDS)
        _note(producer, letter)
    return Attempt(letter, "sent")


def _note(producer: KafkaProducer, letter: Letter) -> None:
    headers = {
        REPLAYED: now().isoformat(),
        "origin-topic": letter.origin[0],
        "origin-partition": letter.origin[1],
        "origin-offset": letter.origin[2],
    }
    key = ":".join((REPLAYED, *letter.origin)).encode()  # no patient is in it
    encoded = [(name, text.encode()) for name, text in headers.items()]
    producer.send(DEAD_LETTERS, None, key, encoded, letter.partition).get(ACKNOWLEDGED_SECONDS)


def _erased(settings: Settings) -> Callable[[str], bool]:
    """Whether a patient was erased, as the topic of erasures says now."""
    marks: set[str] = set()

    def take(records: Sequence[object]) -> None:
        marks.update((record.key or b"").decode(errors="replace") for record in records)  # type: ignore[attr-defined]

    read_topics(settings, [ERASURES], take)
    if not marks:
        return lambda _: False
    key = ErasureKey.read(settings.erasure_key_path)
    return lambda patient_id: key.mark(patient_id) in marks
