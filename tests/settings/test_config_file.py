"""A configuration file becomes a tree of texts, or one clear problem."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.settings.file import MAX_BYTES, place, read_config


def write(folder: Path, text: str | bytes, name: str = "config.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def the_problem(path: Path) -> Problem:
    with pytest.raises(ConfigurationError) as caught:
        read_config(path)
    (problem,) = caught.value.problems
    assert problem.path == caught.value.where == str(path)
    assert problem.remedy
    return problem


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "keep: [1.10, no, 0x10, 2026-01-01, 6:30]\nnothing:\nquoted: 'null'\n"),
        ("a.json", '{"keep": ["1.10", "no", "0x10", "2026-01-01", "6:30"], "nothing": null, "quoted": "null"}'),
        (
            "a.conf",
            '\t{\n\t"keep": ["1.10", "no", "0x10", "2026-01-01", "6:30"],\n\t"nothing": null, "quoted": "null"}',
        ),
        ("a.yml", "{keep: [1.10, no, 0x10, 2026-01-01, 6:30], nothing: ~, quoted: 'null'}"),
    ],
)
def test_scalar_keeps_its_text_as_written(tmp_path: Path, name: str, text: str) -> None:
    """If the tag `1.10` became the number 1.1, the wrong tag would be kept."""
    tree, problems = read_config(write(tmp_path, text, name))
    assert tree == {"keep": ["1.10", "no", "0x10", "2026-01-01", "6:30"], "nothing": None, "quoted": "null"}
    assert problems == []


def test_json_number_keeps_its_text(tmp_path: Path) -> None:
    tree, _ = read_config(write(tmp_path, '{"a": [1.10, 30, true, NaN]}', "a.json"))
    assert tree == {"a": ["1.10", "30", "true", "NaN"]}


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_key_with_unpaired_surrogate_is_refused(tmp_path: Path, name: str) -> None:
    """Messages could not show such a key: it cannot be encoded."""
    tree, (problem,) = read_config(write(tmp_path, '{"clusters": {"\\ud800": {"name": "a"}, "b": {}}}', name))
    assert "half a character" in problem.seen
    assert tree == {"clusters": {"b": {}}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "clusters:\n  prod: {name: a}\n  prod: {name: b}\n"),
        ("a.json", '{"clusters": {"prod": {"name": "a"}, "prod": {"name": "b"}}}'),
    ],
)
def test_duplicate_key_is_refused(tmp_path: Path, name: str, text: str) -> None:
    """The first cluster would be dropped silently, and its images deleted."""
    _, (problem,) = read_config(write(tmp_path, text, name))
    assert problem.path == "clusters.prod"
    assert "twice" in problem.seen


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"- a\n- b\n", "a list"),
        (b"hello", "a single value"),
        (b"a: \xff\xfe", "not UTF-8"),
        ("a: b".encode("utf-16"), "not UTF-8"),
        (b"a: \x00", "control character"),
        (b"a: [b\nc: d", "Line 2"),
        (b"\tb: c", "Line 1, column 1"),
        (b"a: 1\n---\nb: 2\n", "Line 2"),
        (b"a: !!python/object/apply:os.system ['true']", "python/object"),
        (b"a: !secret x", "!secret"),
        (b"a: &a [x]\nb: [*a, *a]", "aliases"),
        (b"? [a]\n: b", "key must be plain text"),
        (b"a: " + b"[" * 20_000, "too deeply"),
        (b"a: " + b"x" * MAX_BYTES, "larger than"),
    ],
)
def test_unreadable_yaml_is_one_problem(tmp_path: Path, content: bytes, seen: str) -> None:
    assert seen in the_problem(write(tmp_path, content)).seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a: b", "Line 1, column 1 is not JSON"),
        ('{"a": 1,}', "is not JSON"),
        ('{"a": ' * 50_000, "too deeply"),
        ("[]", "a list"),
        ("  \n", "is empty"),
    ],
)
def test_json_file_with_yaml_is_refused(tmp_path: Path, text: str, seen: str) -> None:
    assert seen in the_problem(write(tmp_path, text, "a.json")).seen


def test_folder_and_missing_file_have_own_messages(tmp_path: Path) -> None:
    assert "folder" in the_problem(tmp_path).seen
    assert "no such file" in the_problem(tmp_path / "nothing").seen
    assert "not a file name" in the_problem(Path("a\0b")).seen


def test_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, b"\xef\xbb\xbfa: b"))[0] == {"a": "b"}
    assert read_config(write(tmp_path, b'\xef\xbb\xbf{"a": "b"}', "a.json"))[0] == {"a": "b"}


def test_place_of_hostile_key_is_one_line() -> None:
    assert place(["clusters", "a.b", "tags", 2]) == 'clusters."a.b".tags[2]'
    assert place(["a\n::error::x", "\ud800"]) == '"a\\n::error::x"."\\ud800"'


trees = st.recursive(
    st.text(st.characters(codec="utf-8")) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(tree=st.dictionaries(st.text(max_size=5), trees, max_size=4))
def test_any_json_is_read_unchanged(tmp_path: Path, tree: dict[str, object]) -> None:
    assert read_config(write(tmp_path, json.dumps(tree), "a.json")) == (tree, [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(content=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode(errors="replace")))
def test_any_bytes_give_tree_or_configuration_error(tmp_path: Path, content: bytes) -> None:
    for name in ("a.json", "a.yaml"):
        with contextlib.suppress(ConfigurationError):
            assert isinstance(read_config(write(tmp_path, content, name))[0], dict)
