"""`python -m acr_cleanup` is `acr-cleanup`."""

import sys

from acr_cleanup import __version__


def entry() -> None:
    """What the `acr-cleanup` command calls."""
    if sys.argv[1:] == ["--version"]:
        # As argparse would say it; but the table of flags alone, with what it is made from, takes half a second to import.
        print(f"acr-cleanup {__version__}")  # noqa: T201  a result, on stdout
        return
    from acr_cleanup.cli import entry as run  # noqa: PLC0415

    run()


if __name__ == "__main__":
    entry()
