"""Read-only SQL over both stores: at rest, or on the snapshots of running services."""
