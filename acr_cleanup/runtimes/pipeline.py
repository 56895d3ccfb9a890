"""The CI system that a step of a pipeline runs in, as `acr_cleanup.pipeline` needs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from acr_cleanup.runtimes.base import Level, Runtime


class PipelineRuntime(Runtime, Protocol):
    """The CI system, with everything that a step needs of it and other runs do not."""

    level: Level
    """The lowest level of messages in the log."""
    apply_hint: str
    """The input that turns a dry run into a run that deletes, as it is written in a workflow."""
    keep_hint: str
    """How a workflow keeps the report files."""
    checkout_hint: str
    """How to check out the repository; shown if the workspace is empty."""
    plain_summary: bool
    """Does the page of a run support only simple Markdown, such as tables?"""
    absolute_paths: bool
    """
    Do later steps need absolute paths of files?

    Otherwise paths are relative to the workspace.
    """

    def begin(self) -> Mapping[str, str]:
        """
        Prepare to report. Returns the faults that make a report impossible, by their variable.

        Called before anything is read, since no run may delete without a report.
        """
        ...

    def end(self, code: int) -> str:
        """
        Report the exit code of the step.

        Returns an error message if that failed, or an empty text.
        """
        ...

    def name_of(self, name: str) -> str:
        """Return the name of an input in workflows of this CI system."""
        ...

    def input(self, name: str) -> str:
        """Return the value of an input; empty if the workflow does not set it."""
        ...

    def input_names(self) -> tuple[str, ...]:
        """Return the names of all inputs that the workflow sets, including unknown ones."""
        ...

    @property
    def is_debugged(self) -> bool:
        """Is debug logging enabled in the CI system?"""
        ...

    @property
    def workspace(self) -> Path:
        """The folder that all steps of the job share."""
        ...

    @property
    def temporary(self) -> Path | None:
        """A writable folder outside the workspace that outlives the step; None without such a folder."""
        ...
