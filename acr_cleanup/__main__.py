"""Run `acr-cleanup` as `python -m acr_cleanup`."""

import sys

from acr_cleanup import version


def entry() -> None:
    """Run the command line, and exit."""
    if sys.argv[1:] == ["--version"]:
        # The same text as from argparse, without importing the table of flags. That import alone
        # takes half a second.
        print(f"acr-cleanup {version()}")  # noqa: T201  a result, on stdout
        return
    from acr_cleanup.runtimes.garbage import relax_gc  # noqa: PLC0415
    from acr_cleanup.signals import cancelled_on_signals  # noqa: PLC0415

    relax_gc()
    with cancelled_on_signals():
        from acr_cleanup.cli import entry as run  # noqa: PLC0415

        run()


if __name__ == "__main__":
    entry()
