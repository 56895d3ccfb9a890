"""
Property tests of everything that reads foreign data, with damaged documents.

`make test` tries 50 examples of each, `make fuzz` thousands. With atheris, coverage also chooses
examples. These tests use no fixtures, so that both pytest and atheris can call them.
"""
