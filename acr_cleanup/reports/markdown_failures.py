"""Summaries of runs without a result: not started, failed or cancelled."""

from __future__ import annotations

from acr_cleanup.errors import AcrCleanupError, ConfigurationError
from acr_cleanup.reports import words
from acr_cleanup.reports.dialect import GITHUB, Dialect
from acr_cleanup.reports.markdown_rows import HEADING, list_item
from acr_cleanup.reports.tone import Tone

_PROBLEMS_SHOWN = 100


def render_problems(error: ConfigurationError, dialect: Dialect = GITHUB) -> str:
    """
    Render the summary of a run that did not start: each problem with its place and its remedy.
    """
    where = f" of {words.plain(error.where)}" if error.where else ""
    problems = words.count(len(error.problems), "problem")
    verdict = f"Not started: {problems} in the configuration{where}. Nothing was read or deleted."
    lines = [
        list_item(words.code(problem.path) if problem.path else "", words.prose(problem.seen), problem.remedy)
        for problem in error.problems[:_PROBLEMS_SHOWN]
    ]
    hidden = len(error.problems) - _PROBLEMS_SHOWN
    lines += [f"- … and {hidden:,} more in the log"] if hidden > 0 else []
    return _failure(verdict, "Problems", lines, dialect)


def render_failure(error: BaseException, *, deleting: bool = False, dialect: Dialect = GITHUB) -> str:
    """
    Render the summary of a run that an error ended before it had a result.

    `deleting`: the run may have begun to delete, so the summary does not say that nothing was
    deleted.
    """
    if isinstance(error, ConfigurationError):
        return render_problems(error, dialect)
    deleted = "The log lists what was deleted before the failure." if deleting else "Nothing was deleted."
    if isinstance(error, AcrCleanupError):
        title, where, seen, remedy = "Failed", error.where, error.seen, error.remedy
    else:
        title, where, seen = "Failed unexpectedly", "", f"{type(error).__name__}: {error}"
        remedy = (
            "Run it again with the input `log-level: debug` (on the command line `--log-level debug`). "
            "Then report the error, with the log."
        )
    item = list_item(words.code(where) if where else "", words.prose(seen), remedy)
    return _failure(f"{title}. {deleted}", "Error", [item], dialect)


def render_cancelled(text: str, dialect: Dialect = GITHUB) -> str:
    """Render the summary of a run that was cancelled before it had a result."""
    return f"{HEADING}\n\n{dialect.verdict(Tone.STOPPED, words.markdown(text))}\n"


def _failure(verdict: str, title: str, lines: list[str], dialect: Dialect) -> str:
    first = dialect.verdict(Tone.BAD, words.markdown(verdict, 2000))
    return "\n\n".join([HEADING, first, f"### {title}", dialect.broken("\n".join(lines))]) + "\n"
