"""A history of earlier runs for tests of words."""

from __future__ import annotations

from datetime import datetime

from acr_cleanup.core.history import NoHistory


class LastRun(NoHistory):
    """A history that knows only the time of the last run."""

    def __init__(self, last_run: datetime) -> None:
        self.last_run = last_run
