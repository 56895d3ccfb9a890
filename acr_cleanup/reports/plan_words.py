"""
The policy, the refusals and the warnings of a plan, as the sentences and values that every report
shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from math import ceil

from acr_cleanup.access import roles
from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.limits import LimitRefusal, TooManyDeletions
from acr_cleanup.core.plan_warnings import (
    PlanWarning,
    UnknownLocks,
    UnknownSubjects,
    Unlisted,
    UnreadableManifests,
)
from acr_cleanup.core.references import short
from acr_cleanup.core.retention import RetentionPolicy, describe_duration
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.reports.policy_words import rule_text

_CHECK_FIRST = (
    "Check first whether every cluster that uses this registry is configured, and whether older-than and the patterns "
    "are as meant. If the plan is what you want, raise"
)


_ALWAYS_SHOWN = {"older_than", "scope", "keep_last", "repositories", "include_tags", "exclude_tags"}


def describe_policy(policy: RetentionPolicy) -> Mapping[str, str]:
    """The policy in the names of the inputs. Options that are off are left out."""
    usual, shown = RetentionPolicy(), _ALWAYS_SHOWN | ({"keep_last_of"} if policy.keep_last else set())
    return {
        name.replace("_", "-"): _option_text(getattr(policy, name))
        for name in (field.name for field in fields(policy))
        if name in shown or getattr(policy, name) != getattr(usual, name)
    }


def _option_text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case timedelta():
            return describe_duration(value)
        case KeepEntry():
            return value.image
        case PolicyRule():
            return f"{value.name}: {rule_text(value)}"
        case tuple():
            between = "; " if value and isinstance(value[0], PolicyRule) else ", "
            return between.join(map(_option_text, value)) or "(none)"
    return str(value)


def refusal_text(refusal: LimitRefusal) -> str:
    """The limit that the plan exceeds, by how much, and what to do."""
    if isinstance(refusal, TooManyDeletions):
        untagged = f" and {refusal.untagged} untagged manifests" if refusal.untagged else ""
        return (
            f"The plan deletes {refusal.tags} tags{untagged}, more than max-deletions ({refusal.limit}). "
            f"{_CHECK_FIRST} max-deletions to {refusal.tags + refusal.untagged}."
        )
    return (
        f"The plan deletes {refusal.planned} of {refusal.tags} tags of {refusal.repository}, more than "
        f"max-deletion-percent ({refusal.limit:g} %). {_CHECK_FIRST} max-deletion-percent to "
        f"{ceil(refusal.planned * 100 / refusal.tags)}."
    )


def warning_text(warning: PlanWarning) -> str:
    """The part of a repository that could not be read or measured, and what that means for the plan."""
    name = warning.repository
    if isinstance(warning, UnreadableManifests):
        examples = ", ".join(map(short, warning.examples))
        return (
            f"{_manifests(warning.number)} of {name} cannot be read or understood ({examples}). The references of such "
            "a manifest are unknown, so no manifest of this repository is deleted; its tags are removed by name only."
        )
    if isinstance(warning, UnknownSubjects):
        return (
            f"{_manifests(warning.unread)} of {name} cannot be read, and the registry did not list what refers to "
            f"{_manifests(warning.number)} that would be deleted. They are kept, because the registry deletes a manifest "
            "together with everything that refers to it; their tags are removed by name only."
        )
    if isinstance(warning, Unlisted):
        tags = f"{warning.tags:,} {'tag' if warning.tags == 1 else 'tags'}"
        counts = " and ".join([_manifests(warning.manifests)] * bool(warning.manifests) + [tags] * bool(warning.tags))
        danger = (
            "An unlisted manifest might need any other one"
            if warning.manifests
            else "An unlisted tag might be on any manifest, and would be deleted with it"
        )
        return (
            f"{name} has {counts} more than it lists (listEnabled: false, or a count that lags behind). {danger}, so no "
            "manifest of this repository is deleted; its tags are removed by name only."
        )
    if isinstance(warning, UnknownLocks):
        # Without the repository and the number, so that reports show it once for a whole run.
        return (
            "The registry does not show whether tags and manifests are locked (its lists have no changeableAttributes). "
            "They are planned; the registry refuses to delete a locked one, and the outcome is then 'locked'. To see locks, "
            f"give the identity a role with {roles.READ_LOCKS} on the registry."
        )
    upper_bound = f"The size freed in {name} is an upper bound:"
    if warning.error:
        return f"{upper_bound} its manifests could not be read. {warning.error}"
    return (
        f"{upper_bound} {warning.unmeasured:,} of its {warning.manifests:,} manifests could not be read or "
        "have no sizes, and they may share layers with deleted manifests."
    )


def _manifests(number: int) -> str:
    return f"{number:,} {'manifest' if number == 1 else 'manifests'}"
