"""
The signals that stop a run, and the end of a process that gets one before it can handle it.

This is the first module that a process imports, so it imports nothing that takes long.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """
    A signal arrived, and no command handles it.

    As a KeyboardInterrupt it also ends an event loop at once.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def stop_signals() -> tuple[signal.Signals, ...]:
    """
    Return the signals that stop a run: also SIGHUP (a lost terminal, or a runner that ends) and
    Windows' SIGBREAK.

    An ignored SIGHUP remains ignored: the user started the run with `nohup`.
    """
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    known = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    return tuple(
        number for number in known if number.name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN
    )


def interrupt(number: int, _: FrameType | None) -> None:
    """Handle a signal: raise `Interrupted`."""
    raise Interrupted(number)


def ignore_signals() -> None:
    """Ignore further signals: CI systems send a second one soon after the first."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def cancelled_on_signals() -> Iterator[None]:
    """
    Exit with a message and 128 + its number on a signal that arrives while no command handles it.

    Without this, the first moments of a process would end without a message. In a container they would
    not end at all: the first process of a container ignores a signal without a handler.
    """
    for number in stop_signals():
        signal.signal(number, interrupt)
    try:
        yield
    except KeyboardInterrupt as interrupted:
        ignore_signals()
        code = 128 + signal.SIGINT
        # Any other interrupt came after a command had reported.
        if isinstance(interrupted, Interrupted):
            code = 128 + interrupted.number
            with suppress(OSError, ValueError, AttributeError):  # stderr is closed, or None
                sys.stderr.write("Cancelled. Nothing was deleted.\n")
                sys.stderr.flush()
        sys.exit(code)
