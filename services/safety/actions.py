"""What people do about alerts, and what the API needs of whoever makes it durable."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

Act = Literal["acknowledge", "close"]


@dataclass(frozen=True)
class AlertAction:
    """One thing a person did about an alert; `acted_at` is aware, in UTC."""

    action_id: UUID
    alert_id: str
    action: Act
    actor: str
    note: str
    acted_at: datetime


class Actions(Protocol):
    """Takes actions for good."""

    async def record(self, action: AlertAction) -> None:
        """Return once the action is durable in Kafka and applied to the store.

        Raises Problem 503 `broker_unavailable` where that does not happen in time.
        """
