"""The rights that a configuration needs, and one file per format in which they are printed."""
