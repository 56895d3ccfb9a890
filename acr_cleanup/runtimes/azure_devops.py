"""
A step of Azure Pipelines. The task that starts us gives the inputs and reads `result.json`.

Only the task sends commands to the agent. The agent takes `##vso[...]` anywhere in a printed line
for a command, so this runtime prints no such text. Outputs and messages go through `result.json`.
https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from acr_cleanup.runtimes.base import Level, NoIdToken, PlainProgress, tame

NAME = "azure-devops"
"""The value of ACR_CLEANUP_RUNTIME that selects this runtime."""
INPUTS = "ACR_CLEANUP_INPUTS"
RESULT = "ACR_CLEANUP_RESULT"
SUMMARY = "ACR_CLEANUP_SUMMARY"

SCHEMA_VERSION = 1
MAX_ANNOTATIONS = 100
"""
Of each type; the last one gives the number of further ones.

The agent shows ten, which the task chooses.
"""
MAX_MESSAGE = 4000
MAX_TITLE = 200
_RENAMED = {"summary": "publishSummary"}
"""Inputs with another name in the task."""
SHORTEST_SECRET = 6
"""Characters. Shorter texts are not masked: they would occur in ordinary words."""


class AzureDevOps:
    """
    The `Runtime` of the task of Azure Pipelines.

    `result.json` exists from the start and says at first that the run failed. It is replaced as a
    whole after each change, so that a killed run leaves the latest state.
    """

    apply_hint = "dryRun: false"
    keep_hint = "Keep them with a `publish` step."
    checkout_hint = "add the step `checkout: self` before this one."
    plain_summary = True
    absolute_paths = True

    def __init__(
        self,
        level: Level = Level.INFO,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.level = level
        self._environ = os.environ if environ is None else environ
        self._progress = PlainProgress(clock)
        self._inputs, self._unreadable = _inputs(self._environ.get(INPUTS, ""))
        self._secrets: set[str] = set()
        self._outputs: dict[str, str] = {"result": "failed"}
        self._annotations: list[tuple[Level, str, str]] = []
        self._summaries: list[str] = []
        self._summary_path = ""
        # Characters that the encoding of the stream cannot represent are written as escapes.
        if reconfigure := getattr(sys.stdout, "reconfigure", None):
            reconfigure(errors="backslashreplace")

    # -- inputs and environment ------------------------------------------------------------------

    def input(self, name: str) -> str:
        """The value of this input in the pipeline; empty if it is not set."""
        return self._inputs.get(name, "")

    def input_names(self) -> tuple[str, ...]:
        """The names of all inputs that are set, known or not."""
        return tuple(sorted(self._inputs))

    def name_of(self, name: str) -> str:
        """
        The name of an input in a pipeline of Azure DevOps.

        >>> AzureDevOps(environ={}).name_of("older-than")
        'olderThan'
        """
        return _RENAMED.get(name) or camel_case(name)

    @property
    def is_debugged(self) -> bool:
        """Was the pipeline run with system diagnostics?"""
        return self._environ.get("SYSTEM_DEBUG", "").strip().lower() == "true"

    @property
    def workspace(self) -> Path:
        """The folder in which this process was started: that of the job."""
        return Path.cwd()

    @property
    def temporary(self) -> Path | None:
        """The job's folder for temporary files, else the folder of the result file."""
        result = self._environ.get(RESULT, "")
        for named in (self._environ.get("AGENT_TEMPDIRECTORY", ""), str(Path(result).parent) if result else ""):
            if named and os.access(named, os.W_OK):
                return Path(named)
        return None

    async def id_token(self, audience: str) -> str:  # noqa: ARG002
        raise NoIdToken(
            "Azure Pipelines gives jobs ID tokens only through a service connection.",
            "Set azureSubscription to a service connection with workload identity federation.",
        )

    # -- output ----------------------------------------------------------------------------------

    def begin(self) -> Mapping[str, str]:
        """
        Write the first result.

        Returns errors that make a run impossible, by environment variable.
        """
        faults = {INPUTS: self._unreadable, RESULT: self._write()}
        return {name: fault for name, fault in faults.items() if fault}

    def progress(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        if line := self._progress.line(stage, done, total, detail):
            self._print(line)

    def log(self, level: Level, text: str) -> None:
        if level >= self.level:
            prefix = "" if level is Level.INFO else f"{level.word}: "
            self._print(prefix + text.rstrip("\n"))

    def show(self, content: RenderableType) -> None:
        self._print(str(content))

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Print a heading. Folding needs a command, and only the task sends commands."""
        self._print(title)
        yield

    def annotate(self, level: Level, title: str, text: str) -> None:
        """
        Log the message.

        The task shows errors and warnings when the run has ended, up to its limit.
        """
        self.log(level, f"{title}: {text}")
        if level >= Level.WARNING:
            self._annotations.append((level, self._harmless(title, MAX_TITLE), self._harmless(text, MAX_MESSAGE)))

    def mask(self, secret: str) -> None:
        """
        Remove this secret from all output of this process.

        The task masks the pipeline's own secrets in the agent. This is for secrets received later.
        """
        for part in (secret.strip(), *secret.splitlines()):
            if len(part.strip()) >= SHORTEST_SECRET:
                self._secrets.add(part.strip())

    def outputs(self, values: Mapping[str, str]) -> str:
        self._outputs = {camel_case(name): _writable(value) for name, value in values.items()}
        return self._write()

    def summary(self, markdown: str) -> str:
        path = self._environ.get(SUMMARY, "")
        if not path:
            return f"{SUMMARY} is not set"
        self._summaries.append(self._unmasked(_writable(markdown)))
        if fault := _replace(Path(path), "\n".join(self._summaries)):
            return fault
        self._summary_path = path
        return self._write()

    def finish(self) -> None:
        # The exit code is written later, by `end`.
        self._write()
        with suppress(OSError, ValueError):
            sys.stdout.flush()

    def end(self, code: int) -> str:
        """Write the exit code, as the last output. Returns why that failed, or an empty text."""
        return self._write(code)

    # -- the result file -------------------------------------------------------------------------

    def _write(self, code: int = 1) -> str:
        """Write `result.json`. The default `code` is for a run that ends without another call."""
        result = {
            "schema_version": SCHEMA_VERSION,
            "result": self._outputs["result"],
            "exit_code": code,
            "outputs": self._outputs,
            "annotations": list(self._shown()),
            "summary": self._summary_path,
            "report": self._outputs.get("reportPath", ""),
        }
        path = self._environ.get(RESULT, "")
        return _replace(Path(path), json.dumps(result, indent=1) + "\n") if path else "is not set"

    def _shown(self) -> Iterator[dict[str, str]]:
        """
        The first annotations of each type, in order; the last one gives the number of further ones.
        """
        totals, counts = Counter(level for level, _, _ in self._annotations), Counter[Level]()
        for level, title, text in self._annotations:
            counts[level] += 1
            if counts[level] < MAX_ANNOTATIONS or totals[level] == MAX_ANNOTATIONS:
                yield {"level": level.word, "title": title, "text": text}
            elif counts[level] == MAX_ANNOTATIONS:
                hidden = totals[level] - MAX_ANNOTATIONS + 1
                more = f"There are {hidden} more of these, listed in the log and in the summary."
                yield {"level": level.word, "title": "More messages", "text": more}

    def _print(self, text: str) -> None:
        """
        Print a line, also to a closed pipe: a run that deletes must not stop when its log is
        closed.
        """
        with suppress(OSError, ValueError):
            sys.stdout.write(f"{tame(self._unmasked(text))}\n")
            sys.stdout.flush()

    def _harmless(self, text: str, limit: int) -> str:
        shown = tame(self._unmasked(text))
        return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"

    def _unmasked(self, text: str) -> str:
        # The longest first: one secret may contain another.
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def camel_case(name: str) -> str:
    """
    The name of an option in the task, whose variables may only have letters and digits.

    >>> camel_case("deleted-tags-truncated")
    'deletedTagsTruncated'
    """
    return re.sub(r"-(.)", lambda match: match[1].upper(), name)


def _inputs(text: str) -> tuple[dict[str, str], str]:
    """The inputs by name, and why they cannot be read (empty if they can)."""
    try:
        inputs = json.loads(text)
    except (ValueError, RecursionError):
        inputs = None
    if not isinstance(inputs, dict):
        return {}, "is not set" if not text.strip() else "does not contain a JSON object of inputs"
    return {str(name): _text(value).strip() for name, value in inputs.items()}, ""


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list():
            return "\n".join(_text(item) for item in value)
        case _:
            return str(value)


def _writable(text: str) -> str:
    """Escape unpaired surrogates, which foreign text may contain and a file cannot."""
    return text.encode("utf-8", "backslashreplace").decode()


def _replace(path: Path, text: str) -> str:
    """Replace the file as a whole. Returns why that failed, or an empty text."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            part.unlink()
        return f"{path}: {getattr(error, 'strerror', None) or error}"
    return ""
