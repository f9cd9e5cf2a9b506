"""Synthetic registries: the study cohort of `examples/fu2025` and registries of any size for benchmarks."""
