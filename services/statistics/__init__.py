"""Statistics as pure functions of numbers: they know no patient, no store and no stream."""
