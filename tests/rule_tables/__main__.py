"""Write every page: `make rules`."""

from pathlib import Path

from rule_tables import PAGES

FOLDER = Path(__file__).parents[2] / "docs" / "rules"

for page in PAGES:
    (FOLDER / f"{page.name}.md").write_text(page.text(), encoding="utf-8")
