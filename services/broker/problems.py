"""What can go wrong with a broker or its topics, each told in one line that says what to do."""

from dataclasses import dataclass


class BrokerProblem(Exception):
    """A broker cannot be started, reached or used."""


class BrokerUnavailable(BrokerProblem):
    """This machine lacks what the broker needs; the message names it and the command that gets it."""


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """One setting of one topic that is not what the contract says; ``found`` is None where it is not set."""

    topic: str
    setting: str
    wanted: str
    found: str | None

    def __str__(self) -> str:
        found = "not set" if self.found is None else self.found
        return f"{self.topic}: {self.setting} is {found}, must be {self.wanted}"


class TopicProblem(BrokerProblem):
    """Topics exist with other settings than the contract's; nothing was changed on them."""

    def __init__(self, differences: tuple[TopicDifference, ...]) -> None:
        self.differences = differences
        listed = "; ".join(str(difference) for difference in differences)
        super().__init__(
            f"topics with other settings: {listed}. Alter them, or delete what is empty and unused"
        )
