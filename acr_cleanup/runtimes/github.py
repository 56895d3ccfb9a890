"""
A job of GitHub Actions: inputs, outputs, log, annotations, summary, and the job's own token.

`actions_toolkit.core` writes the commands to the runner. This module handles what the toolkit
leaves to its callers: text that must not become a command, missing files, and calls that never end.
https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import re
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from actions_toolkit import core
from rich.console import RenderableType

from acr_cleanup.runtimes.base import Level, NoIdToken, PlainProgress, tame

MAX_ANNOTATIONS = 10
"""
Of each type, per step; the runner silently drops further ones.

The last one gives their number.
"""
MAX_MESSAGE = 4000
"""Characters of an annotation; the runner cuts at 4,096."""
MAX_TITLE = 200

ATTEMPTS = 3
DEADLINE = 10.0
"""Seconds that one request for the job's token may take."""
BACKOFF = 1.0
"""Seconds before the second attempt; twice as many before the third."""

_ANNOTATE = {Level.INFO: core.notice, Level.WARNING: core.warning, Level.ERROR: core.error}
_GRANT = (
    "Grant it to the job: `permissions: {contents: read, id-token: write}`. "
    "If the job is in a reusable workflow, grant it in the calling workflow, too."
)

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class GitHub:
    """
    The `Runtime` of a GitHub action.

    Everything is printed to stdout: the runner would mix the two streams in any order. `level` may
    be set at any time, since it is itself an input.
    """

    apply_hint = "dry-run: false"
    keep_hint = "Keep them with `actions/upload-artifact`."
    checkout_hint = "add a step with actions/checkout before this one."
    plain_summary = False
    absolute_paths = False

    def __init__(self, level: Level = Level.INFO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.level = level
        self._progress = PlainProgress(clock)
        self._annotations: Counter[Level] = Counter()
        self._in_group = False
        self._trusts = False
        # Characters that the encoding of the stream cannot represent are written as escapes.
        if reconfigure := getattr(sys.stdout, "reconfigure", None):
            reconfigure(errors="backslashreplace")

    # -- inputs and environment ------------------------------------------------------------------

    def input(self, name: str) -> str:
        """The value of this input in the workflow; empty if it is not set."""
        return str(core.get_input(name))

    def input_names(self) -> tuple[str, ...]:
        """The names of all inputs that are set, known or not, in lower case."""
        prefix = "INPUT_"
        return tuple(sorted(name.removeprefix(prefix).lower() for name in os.environ if name.startswith(prefix)))

    def name_of(self, name: str) -> str:
        """The name of an input in a workflow."""
        return name

    @property
    def is_debugged(self) -> bool:
        """Was the job run again with debug logging?"""
        return bool(core.is_debug())

    @property
    def workspace(self) -> Path:
        """The folder of the job, which later steps can read."""
        named = Path(os.environ.get("GITHUB_WORKSPACE", ""))
        return named if named.is_absolute() and named.is_dir() else Path.cwd()

    @property
    def temporary(self) -> Path | None:
        """A folder outside the workspace whose files outlive this step, if there is one."""
        named = os.environ.get("RUNNER_TEMP", "")
        return Path(named) if named and os.access(named, os.W_OK) else None

    async def id_token(self, audience: str) -> str:
        """A new token of this job for `audience`, valid for minutes. Raises `NoIdToken`."""
        if not (os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL") and os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")):
            raise _not_granted()
        if not self._trusts:
            _trust_ca_files()
            self._trusts = True
        seen, remedy = "", ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(BACKOFF * 2 ** (attempt - 1))
            try:
                # Not `core.get_id_token`: it prints the mask command from its own thread. Between
                # two lines of `show`, where commands are stopped, the runner would not obey it.
                token = await _within(DEADLINE, lambda: str(core.OidcClient.get_id_token(audience)))
            except TimeoutError:
                seen, remedy = f"no answer within {DEADLINE:.0f} seconds", "Run the job again."
            except Exception as error:  # noqa: BLE001  (the toolkit raises nothing more precise)
                seen, remedy, final = _id_token_failure(error)
                if final:
                    break
            else:
                self.mask(token)
                return token
            _LOG.debug("no ID token in attempt %d: %s", attempt + 1, seen)
        raise NoIdToken(f"GitHub gave this job no ID token: {seen}.", remedy)

    # -- output ----------------------------------------------------------------------------------

    def begin(self) -> Mapping[str, str]:
        """Do nothing: `outputs` and `summary` report missing files when they are called."""
        return {}

    def end(self, code: int) -> str:  # noqa: ARG002  (the runner takes it from the process)
        """Do nothing."""
        return ""

    def progress(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        if line := self._progress.line(stage, done, total, detail):
            _say(core.info, line)

    def log(self, level: Level, text: str) -> None:
        if level < self.level:
            return
        line = tame(text).rstrip("\n")
        if level is Level.DEBUG and self.is_debugged:
            _say(core.debug, line)
        else:
            _say(core.info, line if level is Level.INFO else f"{level.word}: {line}")

    def show(self, content: RenderableType) -> None:
        """
        Print a result with all commands stopped: it is long, with much foreign text.

        The text is tamed as well.
        """
        pause = f"text-{uuid.uuid4().hex}"
        _say(core.info, f"::stop-commands::{pause}\n{tame(str(content))}\n::{pause}::")

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        if self._in_group:
            yield
            return
        self._in_group = True
        _say(core.start_group, tame(title))
        try:
            yield
        finally:
            _say(core.end_group)
            self._in_group = False

    def annotate(self, level: Level, title: str, text: str) -> None:
        """Show the first nine of each type at once; `finish` gives the number of further ones."""
        level = max(level, Level.INFO)
        self._annotations[level] += 1
        if self._annotations[level] < MAX_ANNOTATIONS:
            self._annotate(level, title, text)
        else:
            self.log(level, f"{title}: {text}")

    def mask(self, secret: str) -> None:
        if secret.strip():
            _say(core.set_secret, secret)

    def outputs(self, values: Mapping[str, str]) -> str:
        if not os.environ.get("GITHUB_OUTPUT"):
            # Otherwise the toolkit uses a command that GitHub no longer supports.
            return "GITHUB_OUTPUT is not set"
        for name, value in values.items():
            try:
                core.set_output(name, _writable(value))
            except Exception as error:  # noqa: BLE001  (the toolkit raises nothing more precise)
                return _fault(error)
        return ""

    def summary(self, markdown: str) -> str:
        named = os.environ.get("GITHUB_STEP_SUMMARY")
        if not named:
            return "GITHUB_STEP_SUMMARY is not set"
        try:
            # In one write, so that the summary is not cut in the middle. A missing file is not
            # created: the runner would not find it.
            with Path(named).open("r+b") as file:
                file.seek(0, os.SEEK_END)
                file.write(_writable(markdown).encode())
        except OSError as error:
            return _fault(error)
        return ""

    def finish(self) -> None:
        for level, number in self._annotations.items():
            if number >= MAX_ANNOTATIONS:
                hidden = number - MAX_ANNOTATIONS + 1
                text = f"There are {hidden} more of these, listed in the log and in the summary."
                self._annotate(level, "More messages", text)
        self._annotations.clear()
        with suppress(OSError, ValueError):
            sys.stdout.flush()

    def _annotate(self, level: Level, title: str, text: str) -> None:
        _say(_ANNOTATE[level], _cut(tame(text), MAX_MESSAGE), title=_cut(tame(title), MAX_TITLE))


def _say(command: Callable[..., object], *words: str, **properties: str) -> None:
    """
    Print a command, also to a closed pipe: a run that deletes must not stop when its log is closed.
    """
    with suppress(OSError, ValueError):
        command(*words, **properties)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _writable(text: str) -> str:
    """Escape unpaired surrogates, which foreign text may contain and a file cannot."""
    return text.encode("utf-8", "backslashreplace").decode()


def _fault(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'its file'}: {error.strerror or error}"
    return str(error)


# -- the token of the job ------------------------------------------------------------------------


def _not_granted() -> NoIdToken:
    if fork := _fork():
        return NoIdToken(
            f"This job belongs to a pull request from a fork ({fork}), and GitHub gives such jobs no ID token.",
            "Run it in the repository itself: on `schedule`, `workflow_dispatch` or `push`. Never let the job of a fork log in.",
        )
    return NoIdToken("This job may not ask GitHub for an ID token.", _GRANT)


def _fork() -> str:
    """The repository of this pull request if it is a fork, else an empty text."""
    try:
        event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
        pull_request = event["pull_request"]
        # The repository is null if the fork has been deleted.
        head, base = ((pull_request[side]["repo"] or {}).get("full_name", "deleted") for side in ("head", "base"))
    except (KeyError, TypeError, AttributeError, ValueError, OSError):
        return ""
    return str(head) if head != base else ""


def _id_token_failure(error: Exception) -> tuple[str, str, bool]:
    """
    The failure, its remedy, and whether it is final. The toolkit raises one exception for
    everything.
    """
    import requests  # noqa: PLC0415  (slow to import, and not needed without a token)

    cause = error.__context__
    if isinstance(cause, requests.exceptions.SSLError):
        remedy = "Name the file of your certificate authority in SSL_CERT_FILE or REQUESTS_CA_BUNDLE."
        return "the TLS certificate of the token issuer is not trusted", remedy, True
    if isinstance(cause, requests.exceptions.RequestException) and not isinstance(cause, json.JSONDecodeError):
        # The text of the exception only gives the URL, which does not help the user.
        seen = f"the token issuer cannot be reached ({type(cause).__name__})"
        return seen, "Check the network and the proxy (HTTPS_PROXY, NO_PROXY) of the runner.", False
    status = re.search(r"Error Code: (\d+)", str(error))
    if status is None:
        return "the answer is not from GitHub's token issuer", "Check the proxy (HTTPS_PROXY) of the runner.", False
    code = int(status.group(1))
    final = 400 <= code < 500 and code not in (408, 429)
    return f"the token issuer answered {code}", _GRANT if code in (401, 403) else "Run the job again.", final


async def _within(seconds: float, work: Callable[[], T]) -> T:
    """
    Run blocking work in a thread, for at most `seconds`. Raises `TimeoutError`.

    The thread is a daemon. A thread of the event loop's pool would keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def close(result: Any, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  (raised where the future is awaited)
            failure = error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(close, result, failure)

    threading.Thread(target=run, daemon=True, name="id-token").start()
    return await asyncio.wait_for(future, seconds)


def _trust_ca_files() -> None:
    """
    Let the toolkit trust the same certificate authorities as the other clients of this process.

    It knows only REQUESTS_CA_BUNDLE, which replaces the default authorities. Companies mean it as
    an addition, and may set SSL_CERT_FILE instead.
    """
    files = [Path(os.environ.get(name, "")) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")]
    files = [file for file in files if file.is_file()]
    if not files:
        return
    import certifi  # noqa: PLC0415

    with (
        suppress(OSError),
        tempfile.NamedTemporaryFile(prefix="acr-cleanup-ca-", suffix=".pem", delete=False) as bundle,
    ):
        bundle.write(b"\n".join(file.read_bytes() for file in (Path(certifi.where()), *dict.fromkeys(files))))
        atexit.register(Path(bundle.name).unlink, missing_ok=True)
        os.environ["REQUESTS_CA_BUNDLE"] = bundle.name
