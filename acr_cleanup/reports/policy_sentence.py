"""The policy of a run in a few sentences."""

from __future__ import annotations

from acr_cleanup.core.retention import RetentionPolicy, Scope, describe_duration
from acr_cleanup.reports import words
from acr_cleanup.reports.policy_words import rules_sentence

_SCOPES = {
    Scope.RUNNING: "of repositories that run in a cluster",
    Scope.REFERENCED: "of repositories that a cluster names",
    Scope.ALL: "of any repository",
}


def policy_sentence(policy: RetentionPolicy) -> str:
    """Describe the policy. Patterns are the user's text: escape the result before it is shown."""
    only = [] if policy.shard.is_whole else [f"repositories of shard {policy.shard}"]
    only += [f"repositories matching {', '.join(policy.repositories)}"] if policy.repositories != ("*",) else []
    only += [f"tags matching {', '.join(policy.include_tags)}"] if policy.include_tags != ("*",) else []
    group = f"group of tags (keep-last-by {policy.keep_last_by})" if policy.keep_last_by else "repository"
    kept = [f"the newest {policy.keep_last} {policy.keep_last_of} of each {group}"] if policy.keep_last else []
    kept += [f"tags matching {', '.join(policy.exclude_tags)}"] if policy.exclude_tags else []
    kept += [f"what the keep list names ({words.count(len(policy.keep), 'entry')})"] if policy.keep else []
    pulled = (
        f", it was not pulled in the last {describe_duration(policy.pulled_within)}," if policy.pulled_within else ""
    )
    return (
        f"Deletes tags {_SCOPES[policy.scope]}, if no cluster uses the tag or its digest{pulled} and the last push is at least "
        f"{describe_duration(policy.older_than)} ago."
        + rules_sentence(policy)
        + (f" What was used in the last {describe_duration(policy.used_within)} is kept." if policy.used_within else "")
        + (
            f" What is deleted has been a candidate for {describe_duration(policy.probation)}."
            if policy.probation
            else ""
        )
        + (f" Only {words.listing(only)}." if only else "")
        + (f" Always kept: {words.listing(kept)}." if kept else "")
        + (" Also deletes untagged manifests of that age." if policy.delete_untagged else "")
        + (" Locked tags and manifests are unlocked and deleted, too." if policy.include_locked else "")
    )
