"""
The rules of the user: the first one that matches a tag governs it.

The options at the top level are the last rule, without a name. It matches every tag.

- A signature, or another tag named after a digest, is governed like the image that it belongs to,
  unless a rule names it by a pattern other than `*`. Otherwise the age of the last rule would keep
  the signature, and the signature its image.
- An untagged manifest is governed like the tags above it: those of the indexes that list it and of
  its subject. If there is none, the first rule for all tags of the repository governs it.
- Where several tags count, the rule that keeps longest governs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from acr_cleanup.core.references import Digest
from acr_cleanup.core.selection import EVERYTHING, Patterns, patterns

if TYPE_CHECKING:
    # `--help` imports this module, and the inventory is slow to load.
    from acr_cleanup.core.inventory import RepositoryInventory, Tag


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """
    One rule. Its values replace those of the top level for the tags that it governs.

    name: unique; empty for the options at the top level.
    repositories, tags: patterns as in the options, with `!`.
    keep: keep every tag that the rule governs.
    name_taken: the name that the user wrote, if an earlier rule has it.
    """

    name: str
    repositories: tuple[str, ...] = (EVERYTHING,)
    tags: tuple[str, ...] = (EVERYTHING,)
    older_than: timedelta = timedelta(days=30)
    keep_last: int = 0
    keep_last_by: str = ""
    keep: bool = False
    pulled_within: timedelta | None = None
    name_taken: str = ""

    @property
    def note(self) -> str:
        """The rule, as the evidence of a decision names it; empty for the top level."""
        return f" (rule `{self.name}`)" if self.name else ""

    @property
    def is_for_all_tags(self) -> bool:
        return EVERYTHING in self.tags and not any(pattern.startswith("!") for pattern in self.tags)


def longest(rules: Iterable[PolicyRule]) -> PolicyRule | None:
    """The rule that keeps longest, the first of several; None if there is no rule."""
    return max(rules, key=lambda rule: (rule.keep, rule.older_than), default=None)


class RepositoryRules:
    """
    The rules that may govern something in one repository, in order.

    rules, top: the rules of the policy, and the last one.
    """

    def __init__(
        self, rules: Sequence[PolicyRule], top: PolicyRule, inventory: RepositoryInventory, *, use_regex: bool
    ) -> None:
        self.inventory = self._inventory = inventory
        self.top = self._top = top
        windows = (rule.pulled_within for rule in (*rules, top))
        self.longest_window = max((window for window in windows if window), default=timedelta())
        self._rules: list[tuple[PolicyRule, Patterns]] = [
            (rule, patterns(rule.tags, use_regex=use_regex))
            for rule in rules
            if patterns(rule.repositories, use_regex=use_regex).select(inventory.name)
        ]
        self._by_tag: dict[str, PolicyRule] = {}

    @property
    def all(self) -> tuple[PolicyRule, ...]:
        """The rules of this repository, and the last one."""
        return (*(rule for rule, _ in self._rules), self._top)

    def of(self, tag: Tag) -> PolicyRule:
        """The rule that governs this tag."""
        if not self._rules:
            return self._top
        if (rule := self._by_tag.get(tag.name)) is None:
            rule = self._by_tag[tag.name] = self._governing(tag)
        return rule

    def of_manifest(self, digest: Digest) -> PolicyRule:
        """The rule that governs this untagged manifest."""
        if not self._rules:
            return self._top
        if digest in self._inventory.orphans:
            # Its index was deleted by this run, and with it the tags that governed it. What is
            # checked again is only that it was not pushed since.
            return min(self.all, key=lambda rule: (rule.keep, rule.older_than))
        return self._above(digest) or self._of_all_tags

    def above(self, digest: Digest) -> list[PolicyRule]:
        """The rules of the tags on this manifest and above it, or that of an untagged one."""
        return [self.of(tag) for tag in self._tags_above(digest)] or [self._of_all_tags]

    def unused(self) -> Iterator[PolicyRule]:
        """The rules that match a tag here, but govern none."""
        governing = {self.of(tag) for tag in self._inventory.tags}
        for rule, tags in self._rules:
            if rule not in governing and any(tags.select(tag.name) for tag in self._inventory.tags):
                yield rule

    @property
    def _of_all_tags(self) -> PolicyRule:
        return next(rule for rule in self.all if rule.is_for_all_tags)

    def _governing(self, tag: Tag) -> PolicyRule:
        rule = next((rule for rule, tags in self._rules if tags.select(tag.name)), self._top)
        if rule.is_for_all_tags and self._is_companion(tag) and tag.subject is not None:
            return self._above(tag.subject) or rule
        return rule

    def _is_companion(self, tag: Tag) -> bool:
        """Is the tag named after the digest of another manifest here?"""
        return tag.subject != tag.digest and tag.subject in self._inventory.manifests

    def _above(self, digest: Digest) -> PolicyRule | None:
        """The rule that keeps longest, of those of the tags on this manifest and above it."""
        return longest(map(self.of, self._tags_above(digest)))

    def _tags_above(self, digest: Digest) -> list[Tag]:
        """The tags on this manifest, on the indexes above it and on its subjects, without companions."""
        inventory = self._inventory
        names: list[Tag] = []
        reached, pending = {digest}, [digest]
        while pending:
            current = pending.pop()
            manifest = inventory.manifests.get(current)
            tags = inventory.tags_of.get(current, ())
            names += (tag for tag in tags if not self._is_companion(tag))
            subjects = (manifest.subject if manifest is not None else None, *(tag.subject for tag in tags))
            for above in (*inventory.parents_of.get(current, ()), *subjects):
                if above is not None and above not in reached:
                    reached.add(above)
                    pending.append(above)
        return names
