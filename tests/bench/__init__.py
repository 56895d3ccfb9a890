"""Benchmarks of `make bench`: counts, and ratios to a yardstick measured in the same run."""
