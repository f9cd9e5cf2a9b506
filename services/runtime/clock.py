"""What day and what time it is; nothing else in week12 asks the system clock for them."""

from datetime import UTC, date, datetime

from services.runtime.settings import Settings


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def today(settings: Settings) -> date:
    """The day that tables are 'as of' by default: `WEEK12_TODAY` where set, else today in UTC."""
    return settings.today or now().date()
