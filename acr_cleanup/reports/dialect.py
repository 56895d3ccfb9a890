"""
The Markdown that the page of a summary understands. This module does not know the CI system.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from acr_cleanup.reports.tone import Tone

# A code span, which is left unchanged, or one of our breaks followed by a character that would
# begin a list, a rule or a heading at the start of a line.
_BREAK = re.compile(r"(`[^`\n]*`)|<br>\s*(\d*)([-+.)=]?)")

_ALERTS = {"neutral": "NOTE", "good": "TIP", "stopped": "IMPORTANT", "warning": "WARNING", "bad": "CAUTION"}
_SIGNS = {"neutral": "ℹ️", "good": "✅", "stopped": "⏹️", "warning": "⚠️", "bad": "❌"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """The markup that is allowed besides headings, lists and tables, and the limits of a page."""

    alerts: bool = True
    """`> [!NOTE]`: coloured boxes."""
    folds: bool = True
    """`<details>` and other HTML."""
    budget: int = 900 * 1024
    """Maximum size of a summary, in bytes of UTF-8."""
    outputs: int = 128 * 1024
    """Maximum length of each list in the outputs, in characters."""

    def verdict(self, tone: Tone, text: str) -> str:
        """Highlight the verdict of a summary. `text` is Markdown already."""
        return f"> [!{_ALERTS[tone]}]\n> **{text}**" if self.alerts else f"> {_SIGNS[tone]} **{text}**"

    def folded(self, title: str, plain_title: str, lines: Sequence[str]) -> str:
        """
        Put lines under a title, folded if the page can fold.

        `title` is HTML, `plain_title` is the same title in Markdown.
        """
        if self.folds:
            # GitHub reads Markdown inside an element only after a blank line.
            return "\n".join(["<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>"])
        return "\n".join([f"#### {plain_title}", "", *lines])

    def broken(self, text: str) -> str:
        r"""
        Return the text with the line breaks that this dialect needs inside list items.

        >>> Dialect(folds=False).broken("- `a<br>b`<br>- c")
        '- `a<br>b`  \n  &#45; c'
        """
        return text if self.folds else _BREAK.sub(_hard_break, text)


def _hard_break(match: re.Match[str]) -> str:
    span, digits, mark = match.groups()
    if span is not None:
        return str(span)
    # After the break, these characters could begin a list, a rule or a heading.
    return f"  \n  {digits}{f'&#{ord(mark)};' if mark else ''}"


GITHUB = Dialect()
"""
The page of a GitHub Actions run.

GitHub drops a summary of more than 1 MiB. The budget is smaller, because the runner masks secrets
in the summary, which may make it longer. All outputs of a job may have 1 MB, counted as UTF-16. The
two lists take half of that at most.
https://docs.github.com/actions/reference/workflow-commands-for-github-actions#step-isolation-and-limits
https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idoutputs
"""

PLAIN = Dialect(alerts=False, folds=False, budget=128 * 1024, outputs=24_000)
"""
The Extensions tab of Azure Pipelines.

Its Markdown is undocumented, and tables with much HTML are known to break in it. Therefore only
headings, lists and plain tables are used, and the page is short. Its outputs become variables of
every later step, and Windows limits a variable to 32,767 characters.
https://github.com/MicrosoftDocs/azure-devops-docs/issues/9091
https://github.com/oocx/tfplan2md/issues/665
"""
