"""The rule of a run in one sentence."""

from __future__ import annotations

from acr_cleanup.core.policy import RetentionPolicy, Scope, describe_duration
from acr_cleanup.reports import words


def policy_sentence(policy: RetentionPolicy) -> str:
    """The rule that was applied, as a sentence; patterns are the user's own and not yet harmless."""
    where = {
        Scope.RUNNING: "of repositories that run in a cluster",
        Scope.REFERENCED: "of repositories that a cluster names",
        Scope.ALL: "of any repository",
    }[policy.scope]
    only = [] if policy.shard.is_whole else [f"repositories of shard {policy.shard}"]
    only += [f"repositories matching {', '.join(policy.repositories)}"] if policy.repositories != ("*",) else []
    only += [f"tags matching {', '.join(policy.include_tags)}"] if policy.include_tags != ("*",) else []
    each = f"text that {policy.keep_last_by} finds in their tags" if policy.keep_last_by else ""
    kept = [f"the newest {policy.keep_last} of each{each and f' {each}'}"] if policy.keep_last else []
    kept += [f"tags matching {', '.join(policy.exclude_tags)}"] if policy.exclude_tags else []
    return (
        f"Tags {where} go when no cluster uses them, by tag or by digest, and their last push is at least "
        f"{describe_duration(policy.older_than)} ago."
        + (f" Only {words.listing(only)}." if only else "")
        + (f" Always kept: {words.listing(kept)}." if kept else "")
        + (" Manifests without tags go by the same age." if policy.delete_untagged else "")
        + (" What is locked is unlocked for it." if policy.include_locked else "")
    )
