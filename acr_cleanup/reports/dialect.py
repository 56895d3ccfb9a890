"""What the page that shows a summary can do with its Markdown; which CI system has that page is not known here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from acr_cleanup.reports.tone import Tone

# A code span, in which everything means its letters, or a break of ours with what a line must not begin with.
_BREAK = re.compile(r"(`[^`\n]*`)|<br>\s*(\d*)([-+.)=]?)")

_ALERTS = {"neutral": "NOTE", "good": "TIP", "stopped": "IMPORTANT", "warning": "WARNING", "bad": "CAUTION"}
_SIGNS = {"neutral": "ℹ️", "good": "✅", "stopped": "⏹️", "warning": "⚠️", "bad": "❌"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    What may be used beyond headings, lists and tables, and how much there may be of everything.

    `budget` bounds a summary, in bytes of UTF-8; `outputs` each list that is handed on to later steps, in characters.
    """

    alerts: bool = True
    """`> [!NOTE]`: coloured boxes."""
    charts: bool = True
    """Blocks of mermaid."""
    folds: bool = True
    """`<details>`: what can be folded away, and other HTML."""
    budget: int = 900 * 1024
    outputs: int = 128 * 1024

    def verdict(self, tone: Tone, text: str) -> str:
        """The first words of a summary (Markdown already), so that they strike the eye."""
        return f"> [!{_ALERTS[tone]}]\n> **{text}**" if self.alerts else f"> {_SIGNS[tone]} **{text}**"

    def folded(self, title: str, plain_title: str, lines: Sequence[str]) -> str:
        """Lines under a title (HTML, and the same as Markdown) that whoever needs them may open."""
        if self.folds:
            # GitHub reads Markdown within an element only after a blank line.
            return "\n".join(["<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>"])
        return "\n".join([f"#### {plain_title}", "", *lines])

    def broken(self, text: str) -> str:
        r"""
        The text with the line breaks of this dialect within the items of its lists.

        >>> Dialect(folds=False).broken("- `a<br>b`<br>- c")
        '- `a<br>b`  \n  &#45; c'
        """
        return text if self.folds else _BREAK.sub(_hard_break, text)


def _hard_break(match: re.Match[str]) -> str:
    span, digits, mark = match.groups()
    if span is not None:
        return str(span)
    # What follows stands where a list, a rule or a heading could begin.
    return f"  \n  {digits}{f'&#{ord(mark)};' if mark else ''}"


GITHUB = Dialect()
"""
The page of a run of GitHub. A summary of more than 1 MiB vanishes there, and the runner masks secrets in it, which may make it
longer. Outputs may hold 1 MB for a whole job, counted as UTF-16: the two lists take half of that at most.
https://docs.github.com/actions/reference/workflow-commands-for-github-actions#step-isolation-and-limits
https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idoutputs
"""

PLAIN = Dialect(alerts=False, charts=False, folds=False, budget=128 * 1024, outputs=24_000)
"""
The Extensions tab of Azure Pipelines. What of Markdown it knows is written nowhere, and tables full of HTML are known to break in
it: so headings, lists and plain tables, and a page that is short enough to be read. Its outputs become variables of every later
step, and Windows ends a variable at 32,767 characters.
https://github.com/MicrosoftDocs/azure-devops-docs/issues/9091 https://github.com/oocx/tfplan2md/issues/665
"""
