"""The tables of `docs/datasets.md`, from the definitions: `python -m services.export.reference` writes them anew."""

from collections.abc import Iterator
from pathlib import Path

from services.export.definition import DataSet, load_data_sets, value_sets

DOCUMENT = Path(__file__).parents[2] / "docs" / "datasets.md"
START = "<!-- from services/export/datasets; python -m services.export.reference writes this part -->\n"


def listing() -> str:
    """Every data set with its variables, and every value set, as Markdown."""
    return "\n".join([*_data_sets(), *_value_sets(), ""])


def _data_sets() -> Iterator[str]:
    for data_set in load_data_sets():
        yield from _data_set(data_set)


def _data_set(data_set: DataSet) -> Iterator[str]:
    yield f"## {data_set.name}\n"
    yield f"{data_set.label}: {data_set.structure}. Keys: {', '.join(f'`{key}`' for key in data_set.keys)}.\n"
    yield "| variable | label | type | source | rule |"
    yield "|---|---|---|---|---|"
    for v in data_set.variables:
        source = f"`{v.source}`" if v.source else ""
        yield f"| `{v.name}` | {v.label} | {v.type} | {source} | {v.rule} |"
    yield ""


def _value_sets() -> Iterator[str]:
    yield "## Value sets\n"
    yield "| list | in events and protocols | code | term |"
    yield "|---|---|---|---|"
    for name, word, code, term in value_sets():
        yield f"| {name} | `{word}` | {f'`{code}`' if code else ''} | {term} |"


if __name__ == "__main__":
    before = DOCUMENT.read_text(encoding="utf-8").partition(START)[0]
    DOCUMENT.write_text(before + START + listing(), encoding="utf-8")
