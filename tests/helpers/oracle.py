"""
The deletion rule, implemented a second time to judge the tool.

The two implementations share no code, so they are unlikely to share a mistake. A `Repository` is a
copy of the emulator's state. `Uses` are recorded while a test fills its clusters.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tests.helpers.oracle_repository import Manifest, Repository, companion_of


@dataclass
class Uses:
    """
    The images that the clusters use, recorded while a test makes the clusters.

    `tags` and `digests`: each with its repository.
    `any_tag`: repositories in which every tag may be used.
    `referenced`, `running`: repositories in these scopes.
    `kept_tags`, `kept_digests`: named by the keep list or pulled, each with its repository.
    `hidden`: repositories with a manifest that no list shows, and so may need any other. A subject that does not
    exist may then be that one.
    """

    tags: set[tuple[str, str]] = field(default_factory=set)
    digests: set[tuple[str, str]] = field(default_factory=set)
    any_tag: set[str] = field(default_factory=set)
    referenced: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    kept_tags: set[tuple[str, str]] = field(default_factory=set)
    kept_digests: set[tuple[str, str]] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)

    def digests_in(self, repository: str) -> set[str]:
        return {digest for name, digest in self.digests if name == repository}

    @property
    def mentioned_digests(self) -> set[str]:
        """An object that contains a digest mentions it in every repository that has it."""
        return {digest for _, digest in self.digests}

    def kept_digests_in(self, repository: str) -> set[str]:
        return {digest for name, digest in self.kept_digests if name == repository}


@dataclass(frozen=True)
class RepositoryRule:
    """A rule for all tags of some repositories. `older_than`: None inherits that of the policy."""

    repositories: tuple[str, ...]
    older_than: timedelta | None = None
    keep_last: int = 0
    keep: bool = False


@dataclass(frozen=True)
class Policy:
    """The options of the rule, with the tool's names and defaults."""

    older_than: timedelta = timedelta(days=30)
    scope: str = "running"
    repositories: tuple[str, ...] = ("*",)
    include_tags: tuple[str, ...] = ("*",)
    exclude_tags: tuple[str, ...] | None = None
    keep_last: int = 0
    keep_last_by: str = ""
    keep_last_of: str = "images"
    use_regex: bool = False
    delete_untagged: bool = False
    include_locked: bool = False
    max_deletions: int = 500
    max_deletion_percent: int | None = None
    rules: tuple[RepositoryRule, ...] = ()
    keep: bool = False

    def of_repository(self, name: str) -> Policy:
        """The policy for one repository: the first rule that matches it governs its tags."""
        for rule in self.rules:
            if self.selects(rule.repositories, name):
                age = rule.older_than or self.older_than
                return replace(self, older_than=age, keep_last=rule.keep_last, keep_last_by="", keep=rule.keep)
        return self

    def selects(self, patterns: Sequence[str], name: str) -> bool:
        """True if a pattern matches the name, and no pattern with `!` does."""
        wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
        if not wanted:
            # Only exclusions: they select every other name. An empty list selects nothing.
            return bool(patterns) and not self.denies(patterns, name)
        return not self.denies(patterns, name) and any(self._matches(pattern, name) for pattern in wanted)

    def denies(self, patterns: Sequence[str], name: str) -> bool:
        return any(self._matches(pattern[1:], name) for pattern in patterns if pattern.startswith("!"))

    def _matches(self, pattern: str, name: str) -> bool:
        if pattern == "*" or not self.use_regex:
            return fnmatch.fnmatchcase(name, pattern)
        return re.fullmatch(pattern, name) is not None

    @property
    def excluded(self) -> tuple[str, ...]:
        """The excluded tags, with `latest` unless it was asked for."""
        asked_for = "latest" in self.include_tags or self.exclude_tags == ()
        return (*(self.exclude_tags or ()), *(() if asked_for else ("latest",)))


@dataclass(frozen=True)
class Deletions:
    """
    The expected deletions of one repository.

    `untagged`: the manifests that only `delete-untagged` selects.
    `kept`: how many tags each reason keeps. Only the first reason of a tag counts.
    """

    tags: set[str]
    manifests: set[str]
    untagged: set[str]
    kept: Counter[str]


def in_scope(repository: str, uses: Uses, policy: Policy) -> bool:
    by_scope = {"running": repository in uses.running, "referenced": repository in uses.referenced, "all": True}
    return by_scope[policy.scope] and policy.selects(policy.repositories, repository)


def newest_tags(repository: Repository, policy: Policy) -> set[str]:
    """
    The newest `keep_last` tags of each group, or all tags of the newest images.

    Companion tags do not count, but images that were copied by digest do. Among images, artifacts that are
    attached to a manifest do not count.
    """
    images = policy.keep_last_of == "images"

    def counts(name: str) -> bool:
        manifest = repository.manifests[repository.tags[name].digest]
        may_be_attached = images and manifest.artifact
        attached = may_be_attached and (not manifest.readable or manifest.subject in repository.manifests)
        subject = companion_of(name)
        copied = subject == repository.tags[name].digest or (
            manifest.plain and "." not in name and subject not in repository.manifests
        )
        return (subject is None or copied) and not attached

    groups: dict[object, list[str]] = {}
    for name in repository.tags:
        if counts(name):
            match = re.search(policy.keep_last_by, name) if policy.keep_last_by else None
            groups.setdefault(match[1] if match else None, []).append(name)
    kept: set[str] = set()
    for names in groups.values():
        names.sort(key=lambda name: (repository.tags[name].updated, name))
        if images:
            releases = list(dict.fromkeys(repository.release(name) for name in reversed(names)))[: policy.keep_last]
            kept.update(name for name in names if repository.release(name) in releases)
        else:
            kept.update(names[len(names) - min(policy.keep_last, len(names)) :])
    return kept


def keep_reason(name: str, repository: Repository, uses: Uses, policy: Policy, now: datetime) -> str:
    """The first rule that keeps this tag, without regard to other deletions; "" if no rule does."""
    tag = repository.tags[name]
    manifest = repository.manifests[tag.digest]
    if not in_scope(repository.name, uses, policy):
        return "out of scope"
    if (repository.name, name) in uses.tags:
        return "used by tag"
    if any(tag.digest in repository.family(digest) for digest in uses.digests_in(repository.name)):
        return "used by digest"
    if any(tag.digest in repository.family(digest) for digest in uses.mentioned_digests):
        return "mentioned"
    if companion_of(name) in uses.mentioned_digests - repository.manifests.keys():
        return "signs what is mentioned elsewhere"
    if repository.name in uses.any_tag:
        return "maybe used"
    if policy.keep or (repository.name, name) in uses.kept_tags:
        return "kept by a list or a pull"
    if any(tag.digest in repository.family(digest) for digest in uses.kept_digests_in(repository.name)):
        return "kept by a list or a pull"
    if repository.locked or ((tag.locked or manifest.locked) and not policy.include_locked):
        return "locked"
    if not manifest.readable and not manifest.plain:
        return "unknown"
    if now - tag.updated < policy.older_than:
        return "young"
    # A tag that is named after its own manifest is not a companion.
    companion = companion_of(name) in repository.manifests and companion_of(name) != tag.digest
    if policy.selects(policy.excluded, name) or policy.denies(policy.include_tags, name):
        return "excluded"
    if not companion and not policy.selects(policy.include_tags, name):
        return "excluded"
    return "newest" if policy.keep_last and name in newest_tags(repository, policy) else ""


def expected_deletions(repository: Repository, uses: Uses, policy: Policy, now: datetime) -> Deletions:
    """
    Return what the rule deletes.

    Start with every candidate. Remove those that another kept object needs, until nothing changes.
    """
    repository = repository.with_readable_edges()
    policy = policy.of_repository(repository.name)
    reasons = {name: keep_reason(name, repository, uses, policy, now) for name in sorted(repository.tags)}
    tags = {name for name, reason in reasons.items() if not reason}
    named = uses.mentioned_digests | uses.kept_digests_in(repository.name)
    used = set[str]().union(*map(repository.family, named))

    def old(manifest: Manifest) -> bool:
        return now - manifest.updated >= policy.older_than

    def selected_as_untagged(digest: str) -> bool:
        manifest = repository.manifests[digest]
        return (
            policy.delete_untagged
            and not repository.tags_of(digest)
            and in_scope(repository.name, uses, policy)
            and repository.name not in uses.any_tag
            and not policy.keep
            and old(manifest)
            and (manifest.readable or manifest.docker)
        )

    def candidate(digest: str) -> bool:
        manifest = repository.manifests[digest]
        if digest in used or repository.locked or repository.may_hide_references or repository.name in uses.hidden:
            return False
        if manifest.locked and not policy.include_locked:
            return False
        relative = manifest.subject in repository.manifests or (bool(repository.parents(digest)) and old(manifest))
        return bool(repository.tags_of(digest)) or relative or selected_as_untagged(digest)

    manifests = {digest for digest in repository.manifests if candidate(digest)}

    def must_keep_tag(name: str) -> bool:
        digest = repository.tags[name].digest
        subjects = {
            companion_of(name),
            None if repository.has_own_rules(digest) else repository.manifests[digest].subject,
        }
        if repository.name in uses.hidden and any(
            subject not in repository.manifests for subject in subjects if subject
        ):
            return True
        return any(subject in repository.manifests and subject not in manifests for subject in subjects)

    def may_go_alone(digest: str) -> bool:
        """Its subject is kept. That lifts no age: a child is as young as one without a subject."""
        young = not repository.tags_of(digest) and not old(repository.manifests[digest])
        return repository.has_own_rules(digest) and not young

    def must_keep_manifest(digest: str) -> bool:
        subject = repository.manifests[digest].subject
        return not (
            repository.tags_of(digest) | repository.companion_tags(digest) <= tags
            and repository.parents(digest) | repository.referrers(digest) <= manifests
            and (subject not in repository.manifests or subject in manifests or may_go_alone(digest))
        )

    def with_relatives(start: set[str]) -> set[str]:
        """The candidates that can be reached from these through children and referrers."""
        reached: set[str] = set()
        pending = list(start)
        while pending:
            digest = pending.pop()
            if digest in manifests and digest not in reached:
                reached.add(digest)
                pending += [*repository.manifests[digest].children, *repository.referrers(digest)]
        return reached

    while True:
        kept_tags = {name for name in tags if must_keep_tag(name)}
        kept_manifests = {digest for digest in manifests if must_keep_manifest(digest)}
        if not kept_tags and not kept_manifests:
            tagged = with_relatives({digest for digest in manifests if repository.tags_of(digest)})
            untagged = with_relatives({digest for digest in manifests if selected_as_untagged(digest)}) - tagged
            kept_manifests = manifests - tagged - untagged
            if not kept_manifests:
                kept = Counter(reasons[name] or "attached" for name in repository.tags if name not in tags)
                return Deletions(tags, manifests, untagged, kept)
        tags -= kept_tags
        manifests -= kept_manifests


def exceeds_limit(deletions: Mapping[str, Deletions], repositories: Mapping[str, Repository], policy: Policy) -> bool:
    """True if a limit refuses the whole run."""
    planned = sum(len(expected.tags) + len(expected.untagged) for expected in deletions.values())
    percent = policy.max_deletion_percent
    return planned > (policy.max_deletions or planned) or (
        percent is not None
        and any(
            len(expected.tags) * 100 > percent * len(repositories[name].tags) for name, expected in deletions.items()
        )
    )


def broken_references(before: Repository, after: Repository, uses: Uses, expected: Collection[str] = ()) -> list[str]:
    """
    Describe what the run broke: used tags and digests, and kept objects that lost a part.

    `expected`: manifests that the rule deletes. One whose deletion failed may have lost its
    referrers, because they are deleted first.
    """
    name, problems = before.name, []
    for tag, entry in before.tags.items():
        left = after.tags.get(tag)
        if left is not None and left.digest != entry.digest:
            problems.append(f"{name}:{tag} has another digest")
        if left is not None or (name, tag) in uses.tags:
            missing = before.subtree(entry.digest) - after.manifests.keys()
            problems += [f"{name}:{tag} lost {digest}" for digest in missing]
        if left is None and (name, tag) in uses.tags:
            problems.append(f"{name}:{tag} is in use and was deleted")
    for used in uses.digests_in(name) & before.manifests.keys():
        missing = before.family(used) - after.manifests.keys()
        problems += [f"{name}: {used} in use lost {digest}" for digest in missing]
    for kept, manifest in after.manifests.items():
        subject = {manifest.subject} & before.manifests.keys()
        parts = (before.subtree(kept) | subject) - after.manifests.keys()
        problems += [f"{name}: {kept} lost {digest}" for digest in parts]
        if kept not in expected:
            attached = before.companions(kept) - after.manifests.keys()
            attached |= before.companion_tags(kept) - after.tags.keys()
            problems += [f"{name}: {kept} lost {artifact}, which is attached to it" for artifact in attached]
    return problems
