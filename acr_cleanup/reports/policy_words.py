"""What the reports say about the keep list of a policy."""

from __future__ import annotations

from acr_cleanup.core.policy_findings import EndedEntry, EndingEntry, KeepsEverything, PolicyFinding
from acr_cleanup.reports import words


def finding_text(finding: PolicyFinding) -> str:
    """What is wrong or about to change, and what to do."""
    entry = finding.entry
    image, owner = f"`{entry.image}`", f" Owner: {entry.owner}." if entry.owner else ""
    reason = f" Reason: {entry.reason}." if entry.reason else ""
    if isinstance(finding, EndedEntry):
        return (
            f"The entry {image} of the keep list ended on {entry.until} and keeps nothing any more.{reason}{owner} "
            "Remove it, or write a later date as its until."
        )
    if isinstance(finding, EndingEntry):
        when = f"in {words.count(finding.days, 'day')}" if finding.days else "today"
        return (
            f"The entry {image} of the keep list ends {when} ({entry.until}).{reason}{owner} From the next day on, its "
            "images may be deleted. To keep them, write a later date as its until."
        )
    if isinstance(finding, KeepsEverything):
        return (
            f"The entry {image} of the keep list keeps every tag that was read ({words.count(finding.tags, 'tag')} in "
            f"{words.count(finding.repositories, 'repository')}), so nothing can be deleted. Is that meant? "
            "Otherwise name the images that must stay."
        )
    similar = f" Did you mean the repository {finding.similar}?" if finding.similar else ""
    return f"The entry {image} of the keep list matches no image of the registry.{owner}{similar}"
