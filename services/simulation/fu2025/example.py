"""The files of `examples/fu2025`: what they must contain."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from services.simulation.disorder import disorder
from services.simulation.fu2025 import SEED, generate
from services.simulation.fu2025.baseline import baseline_table
from services.simulation.fu2025.plan import draw_plan
from services.simulation.records import RawEvent

EXAMPLES: Final = Path(__file__).resolve().parents[3] / "examples" / "fu2025"
_TABLE: Final = re.compile(r"(?<=<!-- baseline -->\n).*?(?=<!-- /baseline -->)", re.DOTALL)


def example_files() -> dict[Path, str]:
    """Path and text of each generated file; of the README only its table is generated."""
    events = generate()
    readme = EXAMPLES / "README.md"
    table = baseline_table(draw_plan(SEED), events)
    return {
        EXAMPLES / "cohort.jsonl": json_lines(events),
        EXAMPLES / "stream.jsonl": json_lines(disorder(events, SEED)),
        readme: _TABLE.sub(lambda _: table, readme.read_text(encoding="utf-8")),
    }


def json_lines(events: Iterable[RawEvent]) -> str:
    """Events as JSON lines."""
    return "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events)
