"""Label and field selectors of list requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

JSON = dict[str, Any]
Test = Callable[[JSON], bool]

_TERM = re.compile(
    r"(?P<not>!)?(?P<key>[\w./-]+)\s*(?:(?P<op>==?|!=|\bin\b|\bnotin\b)\s*(?P<value>\([^)]*\)|[\w./-]*))?$"
)
# Resource -> the fields that a selector may name, and their paths. Every resource has the first
# two.
_FIELDS: dict[str, dict[str, tuple[str, ...]]] = {
    "": {"metadata.name": ("metadata", "name"), "metadata.namespace": ("metadata", "namespace")},
    "pods": {"spec.nodeName": ("spec", "nodeName"), "status.phase": ("status", "phase")},
    "secrets": {"type": ("type",)},
}


class SelectorError(ValueError):
    """The selector is not valid. The text is the message of the server's answer."""


def _split(text: str) -> list[str]:
    # Commas inside `in (a,b)` do not separate terms.
    return [term.strip() for term in re.split(r",(?![^(]*\))", text) if term.strip()]


def label_test(selector: str) -> Test:
    """
    Return a test of objects for the value of a `labelSelector` parameter.

    Terms: `a=b`, `a!=b`, `a`, `!a`, `a in (b,c)`, `a notin (b)`, separated by commas.
    """
    tests = [_label_term(term) for term in _split(selector)]
    return lambda obj: all(test(obj["metadata"].get("labels") or {}) for test in tests)


def _label_term(term: str) -> Callable[[dict[str, str]], bool]:
    match = _TERM.match(term)
    if match is None:
        raise SelectorError(f"found '{term[:2]}', expected: !, identifier, or 'end of string'")
    key, operator = match["key"], match["op"]
    if operator is None:
        present = match["not"] is None
        return lambda labels: (key in labels) == present
    value = match["value"] or ""
    if operator in {"in", "notin"}:
        values = {part.strip() for part in value.strip("()").split(",")}
        return lambda labels: (labels.get(key) in values) == (operator == "in")
    return lambda labels: (labels.get(key) == value) == (operator != "!=")


def field_test(resource: str, selector: str) -> Test:
    """
    Return a test of objects for the value of a `fieldSelector` parameter.

    Terms: `field=value` or `field!=value`, separated by commas.
    """
    paths = _FIELDS[""] | _FIELDS.get(resource, {})
    tests: list[Test] = []
    for term in _split(selector):
        name, operator, value = re.match(r"([^=!]*)(!=|==?)?(.*)", term).groups()  # type: ignore[union-attr]
        if name not in paths:
            raise SelectorError(f"field label not supported: {name}")
        tests.append(_field_term(paths[name], value, equal=operator != "!="))
    return lambda obj: all(test(obj) for test in tests)


def _field_term(path: tuple[str, ...], value: str, *, equal: bool) -> Test:
    def test(obj: JSON) -> bool:
        field: Any = obj
        for key in path:
            field = field.get(key, "")
        return bool(field == value) == equal

    return test
