"""The clinical rules as tables that a clinician can read, and that the tests run.

Expected answers are worked out by hand or printed in the source that each row names; none comes from running the
code. The tests hold the plain twin and the stores to them; `make rules` writes them to `docs/rules/`.
"""

from rule_tables import biomarkers, endpoints, findings, scores, settings, statistics, steroids, windows
from rule_tables.tables import Page

PAGES: tuple[Page, ...] = tuple(
    module.PAGE
    for module in (scores, endpoints, steroids, biomarkers, windows, statistics, settings, findings)
)

__all__ = ["PAGES", "Page"]
