"""Summaries of runs without a result: not started, failed, cancelled."""

from __future__ import annotations

from acr_cleanup.errors import AcrCleanupError, ConfigurationError
from acr_cleanup.reports import words
from acr_cleanup.reports.dialect import GITHUB, Dialect
from acr_cleanup.reports.markdown_rows import HEADING, list_item
from acr_cleanup.reports.tone import Tone

_PROBLEMS_SHOWN = 100


def render_problems(error: ConfigurationError, dialect: Dialect = GITHUB) -> str:
    """The summary of a run that never started: each problem with its place and its remedy."""
    where = f" of {words.plain(error.where)}" if error.where else ""
    problems = words.count(len(error.problems), "problem")
    first = f"Not started: {problems} in the configuration{where}. Nothing was read or deleted."
    lines = [
        list_item(words.code(problem.path) if problem.path else "", words.prose(problem.seen), problem.remedy)
        for problem in error.problems[:_PROBLEMS_SHOWN]
    ]
    hidden = len(error.problems) - _PROBLEMS_SHOWN
    lines += [f"- … and {hidden:,} more in the log"] if hidden > 0 else []
    return _failure(first, "What to correct", lines, dialect)


def render_failure(error: BaseException, *, deleting: bool = False, dialect: Dialect = GITHUB) -> str:
    """
    The summary of a run that ended with this error, and has no result to show.

    `deleting`: it may have begun to delete, so the summary must not say that nothing was deleted.
    """
    if isinstance(error, ConfigurationError):
        return render_problems(error, dialect)
    done = "What was deleted until then is in the log." if deleting else "Nothing was deleted."
    if isinstance(error, AcrCleanupError):
        what, where, seen, remedy = "Failed", error.where, error.seen, error.remedy
    else:
        what, where, seen = "Failed unexpectedly", "", f"{type(error).__name__}: {error}"
        remedy = (
            "Run it again with the input `log-level: debug` (on the command line `--log-level debug`), and report it."
        )
    item = list_item(words.code(where) if where else "", words.prose(seen), remedy)
    return _failure(f"{what}. {done}", "What happened", [item], dialect)


def render_cancelled(text: str, dialect: Dialect = GITHUB) -> str:
    """The summary of a run that was stopped before it came to a result."""
    return f"{HEADING}\n\n{dialect.verdict(Tone.STOPPED, words.markdown(text))}\n"


def _failure(first: str, title: str, lines: list[str], dialect: Dialect) -> str:
    verdict = dialect.verdict(Tone.BAD, words.markdown(first, 2000))
    return "\n\n".join([HEADING, verdict, f"### {title}", dialect.broken("\n".join(lines))]) + "\n"
