"""Retention policies of generated worlds, and their rules for whole repositories."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from tests.helpers.oracle import Policy, RepositoryRule


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Mostly defaults; each option is sometimes set, in any combination."""

    def sometimes(name: str, *values: Any) -> Any:
        usual = getattr(Policy, name)
        return draw(st.sampled_from([*[usual] * (2 * len(values)), *values]))

    regex = draw(st.integers(0, 4)) == 4
    tags = [("t.*", "dev-.*"), ("!t1",), (".*", "!(t1|dev-.*)")] if regex else [("t*", "dev-*"), ("!t1",), ("*", "!t1")]
    return Policy(
        older_than=timedelta(days=draw(st.sampled_from([30, 30, 30, 0.5, 60, 90]))),
        scope=draw(st.sampled_from(["running", "running", "referenced", "all", "all"])),
        repositories=sometimes("repositories", ("team/.*",) if regex else ("team/*",), ("*", "!a")),
        include_tags=sometimes("include_tags", *tags, ("latest", "*")),
        exclude_tags=sometimes("exclude_tags", (), ("t0",), ("latest", "main-1")),
        keep_last=sometimes("keep_last", 1, 2),
        keep_last_of=sometimes("keep_last_of", "tags"),
        use_regex=regex,
        delete_untagged=draw(st.booleans()),
        include_locked=draw(st.integers(0, 2)) == 2,
        max_deletions=draw(st.sampled_from([*[500] * 8, 0, 1, 3])),
        max_deletion_percent=draw(st.sampled_from([*[None] * 8, 50, 100])),
    )


STRICTER: dict[str, Any] = {
    "older_than": timedelta(days=90),
    "repositories": ("team/a",),
    "include_tags": ("t0",),
    "exclude_tags": ("t1", "dev-1"),
    "keep_last": 3,
}
"""Rules that can only keep more when they are added to a policy."""


def with_stricter_rule(policy: Policy, option: str) -> Policy:
    """Return the policy with one more rule of `STRICTER`."""
    value = STRICTER[option]
    if option == "older_than":
        value = max(value, policy.older_than)
    elif option == "exclude_tags":
        value = (*policy.excluded, *value)
    elif option == "keep_last":
        value = policy.keep_last + value
    return replace(policy, **{option: value})


@st.composite
def rules(draw: st.DrawFn, *, regex: bool) -> tuple[RepositoryRule, ...]:
    """Rules for whole repositories, in one world of six or so."""
    rule = st.builds(
        RepositoryRule,
        st.sampled_from([("team/.*",) if regex else ("team/*",), ("a",), ("!a",)]),
        st.sampled_from([None, timedelta(days=0.5), timedelta(days=45), timedelta(days=90)]),
        st.sampled_from([0, 0, 1, 2]),
        st.sampled_from([False, False, False, True]),
    )
    return tuple(draw(st.lists(rule, min_size=1, max_size=2))) if draw(st.integers(0, 5)) == 5 else ()
