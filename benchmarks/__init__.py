"""How fast week12 is here: each module is a command that prints a figure beside a raw floor of the same run."""
