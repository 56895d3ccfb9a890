"""What is claimed about speed and size, measured: `make bench`. Every figure is a count, or a ratio to a yardstick of the same run."""
