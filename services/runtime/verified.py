"""What the last `week12 verify` found, kept beside the stores so that the services can show it to Prometheus."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "verified.json"


@dataclass(frozen=True)
class Verified:
    """The last verification of one store: rows that differed, when it ran, and when the last clean one did.

    Times are seconds since 1970; `succeeded_at` is None where none was clean.
    """

    differences: int
    ran_at: float
    succeeded_at: float | None


def read_verified(data_dir: Path) -> dict[str, Verified]:
    """Store -> what its last verification found; empty where there was none, or its note is damaged."""
    try:
        found = json.loads((data_dir / FILE).read_bytes())
        return {
            name: Verified(int(v["differences"]), float(v["ran_at"]), _seconds(v["succeeded_at"]))
            for name, v in found.items()
        }
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def note_verified(data_dir: Path, differences: Mapping[str, int], at: float) -> None:
    """Keep what a verification found: store -> rows that differed. Raises OSError where it cannot be written."""
    before = read_verified(data_dir)
    after = dict(before)
    for name, count in differences.items():
        earlier = before[name].succeeded_at if name in before else None
        after[name] = Verified(count, at, earlier if count else at)
    text = json.dumps({name: asdict(verified) for name, verified in sorted(after.items())})
    path = data_dir / FILE
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(path)


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
