"""What clinicians review is what the tests run."""

from pathlib import Path

import pytest
from rule_tables import PAGES, Page

FOLDER = Path(__file__).parents[2] / "docs" / "rules"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_shows_the_tables(page: Page) -> None:
    assert (FOLDER / f"{page.name}.md").read_text(encoding="utf-8") == page.text(), "run `make rules`"


def test_every_page_is_of_a_table() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == {page.name for page in PAGES}
