"""Read the lists of a policy whose entries are mappings: the keep list and the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.errors import Problem
from acr_cleanup.settings import kinds
from acr_cleanup.settings.file import place
from acr_cleanup.settings.form import KEEP_ENTRY, RULE, Form
from acr_cleanup.settings.grammar import InvalidOption, shown


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """An entry of the keep list, its place, and the host that the user wrote in front; "" if none."""

    place: str
    host: str
    entry: KeepEntry


@dataclass(frozen=True, slots=True)
class PolicyLists:
    """
    Reads the entries of both lists. A mistake removes only its own entry.

    check: checks a mapping at a place of the file. problems: receives the mistakes.
    """

    check: Callable[..., dict[str, Any]]
    problems: list[Problem]

    def keep_entries(self, items: Iterable[object]) -> Iterator[ListedEntry]:
        """Yield each valid entry of a keep list. A text is an image without notes."""
        for number, item in enumerate(items):
            entry = item if isinstance(item, dict) else {"image": item}
            if (values := self._valid(KEEP_ENTRY, entry, "keep", number)) is not None:
                host, kept = values.pop("image")
                notes = {key: note for key, note in values.items() if note}
                yield ListedEntry(place(("keep", number)), host, replace(kept, **notes))

    def rules(self, items: Iterable[object]) -> Iterator[Mapping[str, Any]]:
        """Yield the values of each valid rule."""
        for number, item in enumerate(items):
            try:
                entry = kinds.as_mapping(item)
            except InvalidOption as invalid:
                self.problems.append(Problem(place(("rules", number)), invalid.seen, invalid.remedy))
                continue
            if (values := self._valid(RULE, entry, "rules", number)) is not None:
                self.problems.extend(_contradictions(values, number))
                yield values

    def _valid(self, form: Form, entry: Mapping[str, Any], key: str, number: int) -> dict[str, Any] | None:
        mistakes = len(self.problems)
        values = self.check(form, entry, key, number)
        return values if len(self.problems) == mistakes else None


def _contradictions(values: Mapping[str, Any], number: int) -> Iterator[Problem]:
    for key in ("older_than", "keep_last", "keep_last_by", "pulled_within"):
        if values.get("keep") and values.get(key):
            seen = "keep is true, so this has no effect: the rule keeps every tag that it governs."
            yield Problem(place(("rules", number, key)), seen, f"Remove {key}, or keep.")
    if values.get("keep_last_by") and not values.get("keep_last"):
        seen = "keep_last is 0, so keep_last_by keeps no tag."
        remedy = "Set keep_last in this rule: a rule does not inherit it. Or remove keep_last_by."
        yield Problem(place(("rules", number, "keep_last_by")), seen, remedy)
    for key in ("repositories", "tags"):
        if values.get(key) == ():
            seen = "The list is empty: the rule would match nothing."
            yield Problem(place(("rules", number, key)), seen, "Add a pattern, or remove the key to match all.")


def named_rules(read: Sequence[Mapping[str, Any]], older_than: timedelta) -> tuple[PolicyRule, ...]:
    """
    Make the rules. A rule without a name is called by its number, and so is one whose name is taken.

    older_than: what a rule without its own value inherits. It inherits nothing else.
    """
    rules: list[PolicyRule] = []
    names = set[str]()
    for number, values in enumerate(read, 1):
        given = {key: value for key, value in values.items() if value is not None}
        name, taken = given.pop("name", f"#{number}"), ""
        if name in names:
            name, taken = f"{name} (#{number})", name
        names.add(name)
        rules.append(PolicyRule(name, **{"older_than": older_than, **given}, name_taken=taken))
    return tuple(rules)


def of_registry(
    listed: Iterable[ListedEntry], registry: RegistryHost | None, problems: list[Problem]
) -> tuple[KeepEntry, ...]:
    """Return the keep list. An image of another registry is a mistake: it would keep nothing here."""
    listed = tuple(listed)
    for item in listed:
        if item.host and registry is not None and not registry.owns(item.host):
            server = registry.login_server
            seen = f"{shown(f'{item.host}/{item.entry.image}')} names another registry than {server}."
            remedy = f"Remove the host. If {item.host} is part of the repository's name, write {server}/ before it."
            problems.append(Problem(item.place, seen, remedy))
    return tuple(item.entry for item in listed)
