"""What looks like a person is refused as a pseudonym; what looks like a number is not."""

import pytest

from schemas.pseudonyms import suspicion


@pytest.mark.parametrize(
    "pseudonym",
    [
        "erika@example.org",
        "erika17@example.org",
        "Example",
        "erika",
        "erika.example",
        "Erika-Maria_Example",
        "Example, Erika",
        "Erika Example",
        "Erika Example 17",
        "Änne",
        "张伟",
        "1987-05-04",
        "1987/05/04",
        "04.05.1987",
        "05/04/1987",
        "19870504",
        "04051987",
        "EE19870504",
        "EE-1987-05-04",
        "S01-19870504",
    ],
)
def test_person(pseudonym: str) -> None:
    assert suspicion(pseudonym) is not None


@pytest.mark.parametrize(
    "pseudonym",
    [
        "1",
        "P000123",
        "S01-0017",
        "FU-094",
        "Wuhan-017",
        "2019-0123",
        "site|7",
        "7%",
        "a8f5f167f44f4964e6c998dee827110c",
        "0b9c1f6e-3d1c-4b77-9a40-6f1c7c2c9d10",
        "19871304",  # no thirteenth month, and no day 87
        "P119870504",  # a longer number
        "X",
    ],
)
def test_pseudonym(pseudonym: str) -> None:
    assert suspicion(pseudonym) is None


def test_the_reason_does_not_show_the_pseudonym() -> None:
    assert "erika" not in (suspicion("erika") or "")
