"""What is claimed about speed and size, measured by `make bench`: counts, and ratios to a yardstick of the same run."""
