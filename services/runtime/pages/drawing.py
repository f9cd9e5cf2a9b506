"""Where things stand in a drawing: values to SVG coordinates, rounded so that equal figures draw alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10


@dataclass(frozen=True)
class Axis:
    """A horizontal axis from `low` to `high`, drawn `width` units wide with `margin` units left at both ends."""

    low: float
    high: float
    width: float = 320
    margin: float = 10

    def x(self, value: float) -> float:
        """The coordinate of a value; what lies beyond the axis stands at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.margin + share * (self.width - 2 * self.margin), 1)

    @property
    def ticks(self) -> list[float]:
        """About five round values along the axis."""
        step = _round_step((self.high - self.low) / 4)
        count = floor((self.high - self.low) / step + 1e-9)
        return [round(self.low + step * number, 9) for number in range(count + 1)]


def axis_for(values: Sequence[float], **options: float) -> Axis:
    """An axis from 0 that holds all values and ends at a round one."""
    most = max([value for value in values if value > 0], default=1.0)
    step = _round_step(most / 4)
    high = step * -(-most // step)
    return Axis(0.0, high, **options)


def _round_step(step: float) -> float:
    """The next 1, 2, 2.5 or 5 times a power of ten."""
    power: float = 10.0 ** floor(log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))
