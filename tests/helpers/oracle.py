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

from acr_cleanup.emulator.registry.repository import RepositoryState

COMPANION_TAG = re.compile(r"sha256-([0-9a-f]{64})(\..+)?")
"""The name of a tag that belongs to a digest, such as cosign's signature."""


@dataclass(frozen=True)
class Tag:
    digest: str
    updated: datetime
    locked: bool


@dataclass(frozen=True)
class Manifest:
    """
    A manifest.

    `readable`: its body can be read, and its media type is known.
    `plain`: the registry's list proves that it has neither children nor a subject.
    """

    children: tuple[str, ...]
    subject: str | None
    updated: datetime
    locked: bool
    readable: bool
    plain: bool
    docker: bool


@dataclass(frozen=True)
class Repository:
    """A repository at one moment."""

    name: str
    tags: Mapping[str, Tag]
    manifests: Mapping[str, Manifest]
    locked: bool

    @classmethod
    def from_state(cls, name: str, state: RepositoryState | None) -> Repository:
        """Copy the emulator's state; None is an empty repository."""
        if state is None:
            return cls(name, {}, {}, False)
        return cls(
            name,
            {tag: Tag(entry.digest, entry.updated, entry.attributes.locked) for tag, entry in state.tags.items()},
            {
                entry.digest: Manifest(
                    entry.children,
                    entry.subject,
                    entry.updated,
                    entry.attributes.locked,
                    readable=not entry.ghost and "strange" not in entry.media_type,
                    plain=entry.architecture is not None,
                    docker="docker" in entry.media_type and not entry.is_index,
                )
                for entry in state.manifests.values()
            },
            state.attributes.locked,
        )

    def tags_of(self, digest: str) -> set[str]:
        return {name for name, tag in self.tags.items() if tag.digest == digest}

    def parents(self, digest: str) -> set[str]:
        return {parent for parent, manifest in self.manifests.items() if digest in manifest.children}

    def referrers(self, digest: str) -> set[str]:
        return {referrer for referrer, manifest in self.manifests.items() if manifest.subject == digest}

    def companion_tags(self, digest: str) -> set[str]:
        """The tags whose names contain this digest."""
        return {name for name in self.tags if companion_of(name) == digest}

    def subtree(self, digest: str) -> set[str]:
        """The manifest and all its descendants, which a pull needs; empty if it does not exist."""
        if digest not in self.manifests:
            return set()
        return {digest}.union(*(self.subtree(child) for child in self.manifests[digest].children))

    def family(self, digest: str) -> set[str]:
        """The subtrees of all indexes that contain this digest."""
        return {digest}.union(*(self.subtree(index) for index in self.manifests if digest in self.subtree(index)))

    def excluding(self, digests: Collection[str]) -> Repository:
        """Return a copy without these manifests and their tags."""
        tags = {name: tag for name, tag in self.tags.items() if tag.digest not in digests}
        manifests = {digest: manifest for digest, manifest in self.manifests.items() if digest not in digests}
        return replace(self, tags=tags, manifests=manifests)

    def with_readable_edges(self) -> Repository:
        """Return a copy without the children and subjects of unreadable manifests."""
        manifests = {
            digest: manifest if manifest.readable else replace(manifest, children=(), subject=None)
            for digest, manifest in self.manifests.items()
        }
        return replace(self, manifests=manifests)

    @property
    def may_hide_references(self) -> bool:
        """True if some manifest may refer to any other one."""
        return any(not manifest.readable and not manifest.plain for manifest in self.manifests.values())


def companion_of(tag: str) -> str | None:
    """The digest in the name of a companion tag; None for other tags."""
    match = COMPANION_TAG.fullmatch(tag)
    return f"sha256:{match[1]}" if match else None


@dataclass
class Uses:
    """
    The images that the clusters use, recorded while a test makes the clusters.

    `tags` and `digests`: each with its repository.
    `any_tag`: repositories in which every tag may be used.
    `referenced`, `running`: repositories in these scopes.
    """

    tags: set[tuple[str, str]] = field(default_factory=set)
    digests: set[tuple[str, str]] = field(default_factory=set)
    any_tag: set[str] = field(default_factory=set)
    referenced: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)

    def digests_in(self, repository: str) -> set[str]:
        return {digest for name, digest in self.digests if name == repository}


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
    use_regex: bool = False
    delete_untagged: bool = False
    include_locked: bool = False
    max_deletions: int = 500
    max_deletion_percent: int | None = None

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
    """The newest `keep_last` tags of each group. Companion tags do not count."""
    groups: dict[object, list[str]] = {}
    for name in repository.tags:
        if companion_of(name) is None:
            match = re.search(policy.keep_last_by, name) if policy.keep_last_by else None
            groups.setdefault(match[1] if match else None, []).append(name)
    kept: set[str] = set()
    for names in groups.values():
        names.sort(key=lambda name: (repository.tags[name].updated, name))
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
    if repository.name in uses.any_tag:
        return "maybe used"
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
    reasons = {name: keep_reason(name, repository, uses, policy, now) for name in sorted(repository.tags)}
    tags = {name for name, reason in reasons.items() if not reason}
    used = set[str]().union(*map(repository.family, uses.digests_in(repository.name)))

    def old(manifest: Manifest) -> bool:
        return now - manifest.updated >= policy.older_than

    def selected_as_untagged(digest: str) -> bool:
        manifest = repository.manifests[digest]
        return (
            policy.delete_untagged
            and not repository.tags_of(digest)
            and in_scope(repository.name, uses, policy)
            and repository.name not in uses.any_tag
            and old(manifest)
            and (manifest.readable or manifest.docker)
        )

    def candidate(digest: str) -> bool:
        manifest = repository.manifests[digest]
        if digest in used or repository.locked or repository.may_hide_references:
            return False
        if manifest.locked and not policy.include_locked:
            return False
        relative = manifest.subject in repository.manifests or (bool(repository.parents(digest)) and old(manifest))
        return bool(repository.tags_of(digest)) or relative or selected_as_untagged(digest)

    manifests = {digest for digest in repository.manifests if candidate(digest)}

    def must_keep_tag(name: str) -> bool:
        subjects = {companion_of(name), repository.manifests[repository.tags[name].digest].subject}
        return any(subject in repository.manifests and subject not in manifests for subject in subjects)

    def must_keep_manifest(digest: str) -> bool:
        subject = repository.manifests[digest].subject
        return not (
            repository.tags_of(digest) | repository.companion_tags(digest) <= tags
            and repository.parents(digest) | repository.referrers(digest) <= manifests
            and (subject not in repository.manifests or subject in manifests)
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
            attached = before.referrers(kept) - after.manifests.keys()
            attached |= before.companion_tags(kept) - after.tags.keys()
            problems += [f"{name}: {kept} lost {artifact}, which is attached to it" for artifact in attached]
    return problems
