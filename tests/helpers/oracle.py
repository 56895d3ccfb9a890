"""
The rule, told once more and slowly, so that the code and its judge do not share a mistake.

It knows nothing of the product: a world is what the emulator holds, uses are what was put into the clusters on purpose. What goes
is found by taking out what must stay, again and again, until nothing changes.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from acr_cleanup.emulator.registry.repository import RepositoryState

SIGNS = re.compile(r"sha256-([0-9a-f]{64})(\..+)?")
"""The names of tags that belong to a digest."""


@dataclass(frozen=True)
class Tag:
    digest: str
    updated: datetime
    locked: bool


@dataclass(frozen=True)
class Manifest:
    """`readable`: its body can be read and understood; `plain`: its listing proves that it has neither children nor subject."""

    children: tuple[str, ...]
    subject: str | None
    updated: datetime
    locked: bool
    readable: bool
    plain: bool
    docker: bool


@dataclass(frozen=True)
class Repository:
    """One repository as it was at one moment."""

    tags: Mapping[str, Tag]
    manifests: Mapping[str, Manifest]
    locked: bool

    @classmethod
    def of(cls, state: RepositoryState | None) -> Repository:
        if state is None:
            return cls({}, {}, False)
        return cls(
            {name: Tag(each.digest, each.updated, each.attributes.locked) for name, each in state.tags.items()},
            {
                each.digest: Manifest(
                    each.children,
                    each.subject,
                    each.updated,
                    each.attributes.locked,
                    readable=not each.ghost and "strange" not in each.media_type,
                    plain=each.architecture is not None,
                    docker="docker" in each.media_type and not each.is_index,
                )
                for each in state.manifests.values()
            },
            state.attributes.locked,
        )

    def on(self, digest: str) -> set[str]:
        return {name for name, tag in self.tags.items() if tag.digest == digest}

    def parents(self, digest: str) -> set[str]:
        return {each for each, manifest in self.manifests.items() if digest in manifest.children}

    def referrers(self, digest: str) -> set[str]:
        return {each for each, manifest in self.manifests.items() if manifest.subject == digest}

    def signatures(self, digest: str) -> set[str]:
        """The tags that are named after it."""
        return {name for name in self.tags if signed_by(name) == digest}

    def below(self, digest: str) -> set[str]:
        """It, and all that an index of it reaches: what pulling it needs."""
        if digest not in self.manifests:
            return set()
        return {digest}.union(*(self.below(child) for child in self.manifests[digest].children))

    def family(self, digest: str) -> set[str]:
        """Everything reached from any index that reaches this digest."""
        return {digest}.union(*(self.below(each) for each in self.manifests if digest in self.below(each)))

    def without(self, digests: Collection[str]) -> Repository:
        """The same without these manifests and their tags."""
        tags = {name: tag for name, tag in self.tags.items() if tag.digest not in digests}
        manifests = {digest: each for digest, each in self.manifests.items() if digest not in digests}
        return replace(self, tags=tags, manifests=manifests)

    def as_seen(self) -> Repository:
        """Without the edges that nobody can read."""
        blind = {
            digest: each if each.readable else replace(each, children=(), subject=None)
            for digest, each in self.manifests.items()
        }
        return replace(self, manifests=blind)

    @property
    def opaque(self) -> bool:
        """Is there anything that might refer to anything?"""
        return any(not each.readable and not each.plain for each in self.manifests.values())


def signed_by(name: str) -> str | None:
    match = SIGNS.fullmatch(name)
    return f"sha256:{match[1]}" if match else None


@dataclass
class Uses:
    """What the clusters need, by repository, noted while the world was made."""

    tags: set[tuple[str, str]] = field(default_factory=set)
    digests: set[tuple[str, str]] = field(default_factory=set)
    any: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Policy:
    """What a user may ask for, by its defaults."""

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
        """Is the name among these, and not taken away by one that begins with `!`?"""
        wanted = [each for each in patterns if not each.startswith("!")]
        if not wanted:
            # Such alone select all others; nothing at all selects nothing.
            return bool(patterns) and not self.denies(patterns, name)
        return not self.denies(patterns, name) and any(self._matches(each, name) for each in wanted)

    def denies(self, patterns: Sequence[str], name: str) -> bool:
        return any(self._matches(each[1:], name) for each in patterns if each.startswith("!"))

    def _matches(self, pattern: str, name: str) -> bool:
        if pattern == "*" or not self.use_regex:
            return fnmatch.fnmatchcase(name, pattern)
        return re.fullmatch(pattern, name) is not None

    @property
    def excluded(self) -> tuple[str, ...]:
        """`latest` too, unless asked for."""
        asked_for = "latest" in self.include_tags or self.exclude_tags == ()
        return (*(self.exclude_tags or ()), *(() if asked_for else ("latest",)))


@dataclass(frozen=True)
class Going:
    """What must go of a repository, and why the rest of the tags stays: by the first rule that says so."""

    tags: set[str]
    manifests: set[str]
    alone: set[str]
    kept: Counter[str]


def in_scope(name: str, uses: Uses, policy: Policy) -> bool:
    by_scope = {"running": name in uses.running, "referenced": name in uses.named, "all": True}
    return by_scope[policy.scope] and policy.selects(policy.repositories, name)


def newest(repository: Repository, policy: Policy) -> set[str]:
    """The newest `keep_last` of each group; signatures are no versions."""
    groups: dict[object, list[str]] = {}
    for name in repository.tags:
        if signed_by(name) is None:
            match = re.search(policy.keep_last_by, name) if policy.keep_last_by else None
            groups.setdefault(match[1] if match else None, []).append(name)
    kept: set[str] = set()
    for names in groups.values():
        names.sort(key=lambda name: (repository.tags[name].updated, name))
        kept.update(names[len(names) - min(policy.keep_last, len(names)) :])
    return kept


def why_kept(name: str, tag: Tag, repository: Repository, of: str, uses: Uses, policy: Policy, now: datetime) -> str:
    """The first rule that keeps a tag by itself, empty if none does."""
    manifest = repository.manifests[tag.digest]
    used = {digest for where, digest in uses.digests if where == of}
    if not in_scope(of, uses, policy):
        return "out of scope"
    if (of, name) in uses.tags:
        return "used by tag"
    if any(tag.digest in repository.family(each) for each in used):
        return "used by digest"
    if of in uses.any:
        return "maybe used"
    if repository.locked or ((tag.locked or manifest.locked) and not policy.include_locked):
        return "locked"
    if not manifest.readable and not manifest.plain:
        return "unknown"
    if now - tag.updated < policy.older_than:
        return "young"
    # What is named after what it names is nobody's signature.
    signature = signed_by(name) in repository.manifests and signed_by(name) != tag.digest
    if policy.selects(policy.excluded, name) or policy.denies(policy.include_tags, name):
        return "excluded"
    if not signature and not policy.selects(policy.include_tags, name):
        return "excluded"
    return "newest" if policy.keep_last and name in newest(repository, policy) else ""


def going(repository: Repository, of: str, uses: Uses, policy: Policy, now: datetime) -> Going:
    repository = repository.as_seen()
    kept = {
        name: why_kept(name, tag, repository, of, uses, policy, now) for name, tag in sorted(repository.tags.items())
    }
    tags = {name for name, why in kept.items() if not why}
    digests = {digest for where, digest in uses.digests if where == of}
    used = set[str]().union(*map(repository.family, digests))

    def old(manifest: Manifest) -> bool:
        return now - manifest.updated >= policy.older_than

    def by_itself(digest: str) -> bool:
        """A manifest that nobody named, whose turn has come as if it were a tag."""
        manifest = repository.manifests[digest]
        return (
            policy.delete_untagged
            and not repository.on(digest)
            and in_scope(of, uses, policy)
            and of not in uses.any
            and old(manifest)
            and (manifest.readable or manifest.docker)
        )

    def may_go(digest: str) -> bool:
        manifest = repository.manifests[digest]
        if digest in used or repository.locked or repository.opaque or (manifest.locked and not policy.include_locked):
            return False
        along = manifest.subject in repository.manifests or (bool(repository.parents(digest)) and old(manifest))
        return bool(repository.on(digest)) or along or by_itself(digest)

    manifests = {digest for digest in repository.manifests if may_go(digest)}

    def tag_must_stay(name: str) -> bool:
        subjects = {signed_by(name), repository.manifests[repository.tags[name].digest].subject}
        return any(each in repository.manifests and each not in manifests for each in subjects)

    def manifest_must_stay(digest: str) -> bool:
        subject = repository.manifests[digest].subject
        return not (
            repository.on(digest) | repository.signatures(digest) <= tags
            and repository.parents(digest) | repository.referrers(digest) <= manifests
            and (subject not in repository.manifests or subject in manifests)
        )

    def along(start: set[str]) -> set[str]:
        """What goes along with these: children and referrers, however far."""
        found: set[str] = set()
        pending = list(start)
        while pending:
            digest = pending.pop()
            if digest in manifests and digest not in found:
                found.add(digest)
                pending += [*repository.manifests[digest].children, *repository.referrers(digest)]
        return found

    while True:
        staying = {name for name in tags if tag_must_stay(name)}
        stuck = {digest for digest in manifests if manifest_must_stay(digest)}
        if not staying and not stuck:
            named = along({digest for digest in manifests if repository.on(digest)})
            alone = along({digest for digest in manifests if by_itself(digest)}) - named
            stuck = manifests - named - alone
            if not stuck:
                why = Counter(kept[name] or "attached" for name in repository.tags if name not in tags)
                return Going(tags, manifests, alone, why)
        tags -= staying
        manifests -= stuck


def refused(going: Mapping[str, Going], repositories: Mapping[str, Repository], policy: Policy) -> bool:
    """Does a limit forbid all of it?"""
    planned = sum(len(each.tags) + len(each.alone) for each in going.values())
    percent = policy.max_deletion_percent
    return planned > (policy.max_deletions or planned) or (
        percent is not None
        and any(len(each.tags) * 100 > percent * len(repositories[name].tags) for name, each in going.items())
    )


def unsound(before: Repository, after: Repository, of: str, uses: Uses, leaving: Collection[str] = ()) -> list[str]:
    """
    What is broken that stood before, whatever the policy: nothing in use, and nothing that is still there, may have lost a part.

    `leaving` are manifests that were to go: one that could not may have lost what was attached to it, which goes first.
    """
    found = []
    for name, tag in before.tags.items():
        left = after.tags.get(name)
        if left is not None and left.digest != tag.digest:
            found.append(f"{of}:{name} names something else")
        if left is not None or (of, name) in uses.tags:
            found += [f"{of}:{name} lost {each}" for each in before.below(tag.digest) - after.manifests.keys()]
        if left is None and (of, name) in uses.tags:
            found.append(f"{of}:{name} is in use and gone")
    for where, digest in uses.digests:
        if where == of and digest in before.manifests:
            found += [f"{of}: {digest} in use lost {each}" for each in before.family(digest) - after.manifests.keys()]
    for digest, manifest in after.manifests.items():
        subject = {manifest.subject} & before.manifests.keys()
        found += [f"{of}: {digest} lost {each}" for each in (before.below(digest) | subject) - after.manifests.keys()]
        if digest not in leaving:
            lost = (before.referrers(digest) - after.manifests.keys()) | (before.signatures(digest) - after.tags.keys())
            found += [f"{of}: {digest} lost {each}, which is attached to it" for each in lost]
    return found
