"""Makers of kinds: lists, sets and mappings, from a file and from the lines of an input."""

from __future__ import annotations

import jsonschema
import pytest

from acr_cleanup.settings import kinds
from acr_cleanup.settings.grammar import InvalidOption, as_alias, as_text

FOLDERS = kinds.map_of(as_alias, as_text)
WORDS = kinds.list_of(as_text)
MODES = kinds.set_of(("auto", "off", "one", "two"), alone=("auto", "off"))


@pytest.mark.parametrize(
    "written",
    [
        "docker.io=hub\nquay.io = a=b",
        "# upstream\n\ndocker.io=hub,quay.io=a=b",
        ["docker.io=hub", "quay.io=a=b"],
        {"docker.io": "hub", "Quay.io": "a=b"},
    ],
)
def test_mapping_is_read_from_lines_items_or_mapping(written: object) -> None:
    assert FOLDERS.parse(written, False) == (("docker.io", "hub"), ("quay.io", "a=b"))


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("docker.io", "'docker.io' is not of the form KEY=VALUE."),
        ("=hub", "'=hub' is not of the form KEY=VALUE."),
        ("docker.io=", "'docker.io=' is not of the form KEY=VALUE."),
        ("docker.io=a\nDocker.io=b", "'docker.io' is written twice."),
        ({"docker.io": "a", "Docker.io": "b"}, "'docker.io' is written twice."),
        ({"docker.io": None}, "A value is empty, a list or a mapping."),
        ({"docker.io": ["hub"]}, "A value is empty, a list or a mapping."),
        ({"docker": "hub"}, "'docker' is not a full host name."),
        ("docker=hub", "'docker' is not a full host name."),
        ({"docker.io": " "}, "It is empty."),
        ([{"docker.io": "hub"}], "An item of the list is empty, a list or a mapping."),
    ],
)
def test_invalid_mapping_is_refused(written: object, seen: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        FOLDERS.parse(written, False)
    assert caught.value.seen == seen
    assert caught.value.remedy


def test_empty_text_is_not_given_but_empty_collection_is() -> None:
    for kind in (FOLDERS, WORDS, MODES):
        assert kind.parse(" \n# a comment\n", False) is None
        assert not kind.parse([], False)
        assert kind.parse([], False) is not None


def test_exclamation_mark_belongs_to_the_item() -> None:
    assert WORDS.parse("a\n!b", False) == WORDS.parse(["a", "!b"], False) == ("a", "!b")


def test_set_refuses_choices_that_stand_alone() -> None:
    assert MODES.parse("one, TWO", False) == {"one", "two"}
    assert MODES.parse("auto,auto", False) == {"auto"}
    with pytest.raises(InvalidOption, match="It combines off with other values"):
        MODES.parse("one,off", False)
    with pytest.raises(InvalidOption, match=r"Did you mean auto\?"):
        MODES.parse(["atuo"], False)


@pytest.mark.parametrize(
    ("kind", "value"), [(FOLDERS, {"a.io": "b"}), (WORDS, ["a"]), (MODES, ["one"]), (MODES, "one")]
)
def test_schema_of_kind_accepts_its_values(kind: kinds.Kind, value: object) -> None:
    jsonschema.Draft202012Validator(kind.schema).validate(value)
