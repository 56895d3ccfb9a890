"""The page of `acr-cleanup check` in each format."""

from __future__ import annotations

import io
import shlex

import pytest
from rich.console import Console

from acr_cleanup.reports.check import Check, CheckReport, Mark
from acr_cleanup.reports.dialect import GITHUB, PLAIN, Dialect
from tests.helpers.hostile_text import TEXTS

COMMAND = "az role assignment create --assignee-object-id 1-2 --role 'Cluster User Role' --scope /subscriptions/1/x"
REPORT = CheckReport(
    "contoso.azurecr.io",
    (
        Check("Login", Mark.OK, "Token for Azure Resource Manager."),
        Check(
            "Cluster production", Mark.FAILED, "Get user credentials: not allowed.", f"Assign the role:\n`{COMMAND}`"
        ),
        Check("Cluster production", Mark.UNKNOWN, "Not asked."),
    ),
)


@pytest.mark.parametrize("width", [40, 60, 100, 400])
def test_command_on_a_narrow_terminal_can_be_pasted(width: int) -> None:
    """A shell joins its lines again."""
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(REPORT)
    text = out.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    pasted = text[text.index("az role") : text.index("  ? Not asked")]
    # A shell removes a backslash at the end of a line, together with the line break.
    assert shlex.split(pasted.replace("\\\n", "")) == shlex.split(COMMAND)


@pytest.mark.parametrize("dialect", [GITHUB, PLAIN], ids=["github", "plain"])
def test_summary_has_the_command_as_code(dialect: Dialect) -> None:
    summary = REPORT.markdown(dialect)
    assert f"`{COMMAND}`" in summary
    assert "1 of 3 checks failed. 1 could not be answered." in summary


@pytest.mark.parametrize("hostile", TEXTS)
def test_foreign_text_is_no_command(hostile: str) -> None:
    """Error texts of servers are shown in the page, and are no commands of a CI system."""
    report = CheckReport("contoso.azurecr.io", (Check("Login", Mark.FAILED, hostile, hostile),))
    for text in (str(report), report.markdown()):
        assert "##vso[" not in text
        assert "##[" not in text
        assert not any(line.lstrip().startswith("::") for line in text.splitlines())
        assert "\x1b" not in text
        assert "<script" not in report.markdown()
