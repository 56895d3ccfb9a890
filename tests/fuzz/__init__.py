"""
Laws for whatever comes from outside, on documents that nearly are what they should be.

`make test` tries some dozens of examples of each, `make fuzz` thousands; where atheris is installed, it also lets coverage choose
them. A law here needs nothing of pytest (no fixture), so that either may call it.
"""
