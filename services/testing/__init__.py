"""What a registry's own tests need: a broker, its topics, running services, and cohorts of valid events.

As pytest fixtures in `services.testing.plugin`, which pytest finds by itself where week12 is installed; without
pytest from `cohort`, `topics` and `running`. `docs/testing.md` tells how. Nothing is imported here, because pytest
loads the plug-in, and with it this package, in every run.
"""
