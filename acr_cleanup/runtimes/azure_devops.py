"""
A step of Azure Pipelines, as the task that starts it leaves it to us: inputs in one variable, everything to tell in one file.

The task alone speaks to the agent. Whatever a process prints may be a command there (`##vso[...]` anywhere in a line), so nothing
that is printed here is one, and what the agent shall be told goes through `result.json`, which the task reads.
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
"""What ACR_CLEANUP_RUNTIME says where this runtime is meant."""
INPUTS = "ACR_CLEANUP_INPUTS"
RESULT = "ACR_CLEANUP_RESULT"
SUMMARY = "ACR_CLEANUP_SUMMARY"

SCHEMA_VERSION = 1
MAX_ANNOTATIONS = 100
"""Of each type. The agent shows ten, and which ones is for the task to say; the last place tells how many more there are."""
MAX_MESSAGE = 4000
MAX_TITLE = 200
_RENAMED = {"summary": "publishSummary"}
"""Inputs that the task has under another name."""
SHORTEST_SECRET = 6
"""Characters. What is shorter than this is no secret, and would be found in innocent words."""


class AzureDevOps:
    """
    The `Runtime` of the task of Azure Pipelines.

    `result.json` is there from the beginning, says at first that the run failed, and is written anew, whole, whenever there is
    something more to say: whoever is killed has told what was known by then.
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
        # What the encoding of the stream cannot express is written as an escape.
        if reconfigure := getattr(sys.stdout, "reconfigure", None):
            reconfigure(errors="backslashreplace")

    # -- what the job says -------------------------------------------------------------------------------------

    def input(self, name: str) -> str:
        """What the pipeline says for this input, empty where it says nothing."""
        return self._inputs.get(name, "")

    def input_names(self) -> tuple[str, ...]:
        """The names of all inputs that were given, known or not."""
        return tuple(sorted(self._inputs))

    def name_of(self, name: str) -> str:
        """
        An input as a pipeline of Azure DevOps writes it.

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
        """The folder in which we were started: that of the job."""
        return Path.cwd()

    @property
    def temporary(self) -> Path | None:
        """The job's folder for temporary files; else the one that the result goes to."""
        result = self._environ.get(RESULT, "")
        for named in (self._environ.get("AGENT_TEMPDIRECTORY", ""), str(Path(result).parent) if result else ""):
            if named and os.access(named, os.W_OK):
                return Path(named)
        return None

    async def id_token(self, audience: str) -> str:  # noqa: ARG002
        raise NoIdToken(
            "Azure Pipelines gives a job no token of its own, only one of a service connection.",
            "Choose the service connection (azureSubscription) of an application with workload identity federation.",
        )

    # -- what the job is told ----------------------------------------------------------------------------------

    def begin(self) -> Mapping[str, str]:
        """Write the first result. Returns what makes a run impossible, by the variable that is to blame."""
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
        """A heading: what would fold it is a command, and those are the task's."""
        self._print(title)
        yield

    def annotate(self, level: Level, title: str, text: str) -> None:
        """In the log at once; errors and warnings are also shown by the task when we have ended, as far as it has room for them."""
        self.log(level, f"{title}: {text}")
        if level >= Level.WARNING:
            self._annotations.append((level, self._harmless(title, MAX_TITLE), self._harmless(text, MAX_MESSAGE)))

    def mask(self, secret: str) -> None:
        """The agent hears of its secrets from the task; what we learn by ourselves is taken out of what we say."""
        for each in (secret.strip(), *secret.splitlines()):
            if len(each.strip()) >= SHORTEST_SECRET:
                self._secrets.add(each.strip())

    def outputs(self, values: Mapping[str, str]) -> str:
        self._outputs = {camel_case(name): _writable(value) for name, value in values.items()}
        return self._write()

    def summary(self, markdown: str) -> str:
        path = self._environ.get(SUMMARY, "")
        if not path:
            return f"{SUMMARY} names no file"
        self._summaries.append(self._unmasked(_writable(markdown)))
        if fault := _replace(Path(path), "\n".join(self._summaries)):
            return fault
        self._summary_path = path
        return self._write()

    def finish(self) -> None:
        # What became of it is told by `end`, which comes last.
        self._write()
        with suppress(OSError, ValueError):
            sys.stdout.flush()

    def end(self, code: int) -> str:
        """The last word: the step ends with this exit code. Returns why that could not be said, or nothing."""
        return self._write(code)

    # -- how ---------------------------------------------------------------------------------------------------

    def _write(self, code: int = 1) -> str:
        """`code` is what holds if nothing more is heard of us: then something has gone wrong."""
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
        return _replace(Path(path), json.dumps(result, indent=1) + "\n") if path else "names no file"

    def _shown(self) -> Iterator[dict[str, str]]:
        """The first annotations of each type, in their order; the last says how many more there were."""
        numbers, seen = Counter(level for level, _, _ in self._annotations), Counter[Level]()
        for level, title, text in self._annotations:
            seen[level] += 1
            if seen[level] < MAX_ANNOTATIONS or numbers[level] == MAX_ANNOTATIONS:
                yield {"level": level.word, "title": title, "text": text}
            elif seen[level] == MAX_ANNOTATIONS:
                hidden = numbers[level] - MAX_ANNOTATIONS + 1
                more = f"There are {hidden} more of these. The log and the summary name them."
                yield {"level": level.word, "title": "And more", "text": more}

    def _print(self, text: str) -> None:
        """A run that deletes must not stop because nobody reads its log any more."""
        with suppress(OSError, ValueError):
            sys.stdout.write(f"{tame(self._unmasked(text))}\n")
            sys.stdout.flush()

    def _harmless(self, text: str, limit: int) -> str:
        shown = tame(self._unmasked(text))
        return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"

    def _unmasked(self, text: str) -> str:
        # The longest first: a secret may be a part of another one.
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def camel_case(name: str) -> str:
    """
    A name with dashes as a task has it: variables there must be letters and digits.

    >>> camel_case("deleted-tags-truncated")
    'deletedTagsTruncated'
    """
    return re.sub(r"-(.)", lambda match: match[1].upper(), name)


def _inputs(text: str) -> tuple[dict[str, str], str]:
    """The inputs by their names, and why they cannot be read."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return {}, "is not set" if not text.strip() else "holds no JSON object of inputs"
    return {str(name): _text(value).strip() for name, value in found.items()}, ""


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list():
            return "\n".join(_text(each) for each in value)
        case _:
            return str(value)


def _writable(text: str) -> str:
    """Half a surrogate pair, which foreign text may hold, has no place in a file."""
    return text.encode("utf-8", "backslashreplace").decode()


def _replace(path: Path, text: str) -> str:
    """Write the whole file or nothing; returns why that could not be done."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            part.unlink()
        return f"{path}: {getattr(error, 'strerror', None) or error}"
    return ""
