"""
Pulls that the registry's log recorded, and what they keep.

The log alone knows about clients that no scan sees: App Service, build agents, a job that runs at
night. It counts as a use counts: a pull of a child keeps its index, and a pull of the index keeps
its children.

It is not known for all cases which columns the log fills, so every reading keeps more:

- A row with a tag and a digest keeps both, although the tag may have moved since.
- A row with only a tag also keeps the manifest that has this tag now, with its other tags.
- A row with neither may be a pull of any image of the repository. So may a row whose digest is
  malformed and resembles no digest that the registry lists.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import islice, takewhile

from acr_cleanup.core.inventory import RepositoryInventory, Tag
from acr_cleanup.core.references import DIGEST, Digest

PULL_LOG = "pull-log"
"""The kind of the log in waivers."""
_DIGEST = re.compile(DIGEST)
_LEAST = len("sha256:") + 12
"""How much of a malformed digest must agree with a listed one."""
_NAMES_SHOWN = 3
_REPOSITORIES_HELD = 32


@dataclass(frozen=True, slots=True)
class Pull:
    """
    The pulls of one tag and digest, as one row of the log counts them.

    repository: in lower case. tag, digest: as the log has them; either may be empty.
    last: the time of the last pull. number: how many pulls.
    by: identities and user agents, short enough for a report.
    """

    repository: str
    tag: str
    digest: str
    last: datetime
    number: int = 1
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RepositoryPulls:
    """The pulls of one repository: by tag, by digest, and those that may mean any of its images."""

    by_tag: Mapping[str, tuple[Pull, ...]] = field(default_factory=dict)
    by_digest: Mapping[Digest, tuple[Pull, ...]] = field(default_factory=dict)
    of_any: tuple[Pull, ...] = ()


NO_PULLS_OF_REPOSITORY = RepositoryPulls()


@dataclass(frozen=True)
class PullLog:
    """
    The pulls that count, by repository.

    since: the begin of the window. reaches_back_to: the oldest row of the log, of any kind.
    counted, ignored: how many pulls the log has in the window, by who pulled, most first.
    """

    since: datetime | None = None
    reaches_back_to: datetime | None = None
    counted: tuple[tuple[str, int], ...] = ()
    ignored: tuple[tuple[str, int], ...] = ()
    _by_repository: Mapping[str, tuple[Pull, ...]] = field(default_factory=dict, repr=False, compare=False)
    _matched: dict[str, tuple[object, int, RepositoryPulls]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, pulls: Iterable[Pull], **facts: object) -> PullLog:
        """Index these pulls. `facts`: the other fields."""
        by_repository: defaultdict[str, list[Pull]] = defaultdict(list)
        for pull in pulls:
            by_repository[pull.repository].append(pull)
        return cls(**facts, _by_repository={name: tuple(pulled) for name, pulled in by_repository.items()})  # type: ignore[arg-type]

    @property
    def repositories(self) -> frozenset[str]:
        """The repositories that were pulled from."""
        return frozenset(self._by_repository)

    def pulls_of(self, inventory: RepositoryInventory) -> RepositoryPulls:
        """The pulls of a repository, by what the registry has."""
        pulls = self._by_repository.get(inventory.name)
        if not pulls:
            return NO_PULLS_OF_REPOSITORY
        # One decision asks several times.
        tags, manifests, matched = self._matched.get(inventory.name, (None, 0, NO_PULLS_OF_REPOSITORY))
        if tags is not inventory.tags or manifests != len(inventory.manifests):
            matched = _matched(pulls, inventory)
            if len(self._matched) >= _REPOSITORIES_HELD:
                self._matched.clear()
            self._matched[inventory.name] = inventory.tags, len(inventory.manifests), matched
        return matched

    def kept_tags(
        self, inventory: RepositoryInventory, counted: RepositoryPulls | None = None
    ) -> Iterator[tuple[Tag, str]]:
        """
        The tags that pulls keep, each with the evidence: when, how often and by whom.

        counted: the pulls that count; by default all of the log.
        """
        pulls = self.pulls_of(inventory) if counted is None else counted
        if pulls is NO_PULLS_OF_REPOSITORY:
            return
        by_family: defaultdict[Digest, list[Pull]] = defaultdict(list)
        for pulled, of_digest in pulls.by_digest.items():
            for digest in inventory.family(pulled):
                by_family[digest].extend(of_digest)
        for tag in inventory.tags:
            by_name = pulls.by_tag.get(tag.name, ())
            evidence = tuple(dict.fromkeys((*by_name, *by_family.get(tag.digest, ()), *pulls.of_any)))
            if evidence:
                yield tag, described(evidence)


NO_PULLS = PullLog()


def _matched(pulls: Iterable[Pull], inventory: RepositoryInventory) -> RepositoryPulls:
    by_name: defaultdict[str, list[Pull]] = defaultdict(list)
    by_digest: defaultdict[Digest, list[Pull]] = defaultdict(list)
    of_any: list[Pull] = []
    listed = _ListedDigests(inventory)
    for pull in pulls:
        # A client that pulls by digest may have it logged as the tag.
        named = bool(pull.tag) and ":" not in pull.tag
        digests = [text.lower() for text in (pull.digest, "" if named else pull.tag) if text]
        if named:
            by_name[pull.tag.lower()].append(pull)
        unclear = not (named or digests)
        for text in digests:
            meant = listed.meant(text)
            unclear = unclear or not meant
            for digest in meant:
                by_digest[digest].append(pull)
        if unclear:
            of_any.append(pull)
    # Without regard to case: the log may not write a name as the registry does.
    by_tag = {tag.name: tuple(by_name[key]) for tag in inventory.tags if (key := tag.name.lower()) in by_name}
    for tag in inventory.tags:
        by_digest[tag.digest].extend(by_tag.get(tag.name, ()))
    of_digests = {digest: tuple(of_digest) for digest, of_digest in by_digest.items() if of_digest}
    return RepositoryPulls(by_tag, of_digests, tuple(of_any))


@dataclass
class _ListedDigests:
    inventory: RepositoryInventory

    @cached_property
    def _sorted(self) -> list[Digest]:
        return sorted(self.inventory.manifests.keys() | self.inventory.tags_of.keys())

    def meant(self, text: str) -> tuple[Digest, ...]:
        """
        The digests that a text of the log means.

        A malformed one means the listed digests that begin with it, or with which it begins.
        """
        if _DIGEST.fullmatch(text):
            return (Digest(text),)
        if len(text) < _LEAST:
            return ()
        start = bisect_left(self._sorted, text)
        longer = takewhile(lambda digest: digest.startswith(text), islice(self._sorted, start, None))
        return (*longer, *(digest for digest in self._sorted[max(start - 1, 0) : start] if text.startswith(digest)))


def described(pulls: Iterable[Pull]) -> str:
    """
    When, how often and by whom, in a sentence's end.

    >>> moment = datetime(2026, 11, 20, 14, 3)
    >>> described([Pull("shop", "1.0", "", moment, 12, ("kubelet",))])
    'pulled 12 times, last on 2026-11-20 14:03 UTC, by kubelet'
    """
    pulls = tuple(pulls)
    number, last = sum(pull.number for pull in pulls), max(pull.last for pull in pulls)
    names = list(dict.fromkeys(name for pull in pulls for name in pull.by))
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    by = f", by {', '.join(names[:_NAMES_SHOWN])}{more}" if names else ""
    return f"pulled {number:,} time{'' if number == 1 else 's'}, last on {last:%Y-%m-%d %H:%M} UTC{by}"
