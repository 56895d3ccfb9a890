"""
Damage valid documents in ways that every reader must handle: values replaced, lost, doubled or
nested.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "50"))
"""Examples of each test."""

MOST_SECONDS = 2.0
"""
Seconds of CPU per document.

A small one usually takes a millisecond; superlinear code takes minutes.
"""

F = TypeVar("F", bound=Callable[..., Any])

HOSTILE = (
    "::error::x",
    "\n::set-output name=a::b",
    "##vso[task.complete]",
    "##[error]",
    "\x1b[31m",
    "\r",
    "\u2028",
    "\u202e",
    "\ud800",
    "<script>",
    "| a |",
    "`",
    "](https://evil.example)",
    "%0A::error::",
    "$(id)",
    "{{ .x }}",
    "../../x",
    "..",
    "/",
    "a/../b",
    "\x00",
    "EOF",
    "ghadelimiter_",
    "<<",
    "=",
)
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    1.5,
    -0.0,
    2**31,
    2**63,
    2**64,
    10**400,
    1e308,
    "",
    " ",
    "0",
    "-1",
    "null",
    "true",
    "NaN",
    "*",
    "!",
    "latest",
    "contoso.azurecr.io/shop/web:1",
    f"sha256:{'0' * 64}",
    f"sha256:{'A' * 64}",
    f"sha512:{'f' * 128}",
    "sha256:",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-01-01",
    "2026-01-01T00:00:00",
    "24:00",
    "x" * 5000,
    "é" * 300,
    [],
    {},
    [[]],
    [{}],
    {"": ""},
    {"a": None},
    [None],
    *HOSTILE,
)

texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE) | st.text(max_size=6), max_size=5).map("".join),
)
# Copies: a later example must not change the values of an earlier one.
values = st.sampled_from(ODD).map(copy.deepcopy) | texts
DELETE = object()


def fuzz_test(function: F) -> F:
    """Run a test with `EXAMPLES` examples, without a deadline: the machine may be busy."""
    decorated: F = settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )(function)
    return decorated


@contextmanager
def bounded_time() -> Iterator[None]:
    """Fail if the code inside takes more CPU than `MOST_SECONDS`."""
    began = time.process_time()
    yield
    assert time.process_time() - began < MOST_SECONDS


def paths_in(tree: Any) -> list[tuple[Any, ...]]:
    """The path of every value in a tree, except the root."""
    paths: list[tuple[Any, ...]] = []

    def walk(node: Any, path: tuple[Any, ...]) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, inner in items:
            paths.append((*path, key))
            walk(inner, (*path, key))

    walk(tree, ())
    return paths


@st.composite
def damaged(draw: st.DrawFn, tree: Any, most: int = 3) -> Any:
    """A copy of this JSON tree with 1 to `most` random changes; rarely it is unchanged."""
    document = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, most))):
        paths = paths_in(document)
        if not paths:
            return draw(values)
        *above, last = draw(st.sampled_from(paths))
        parent = document
        for key in above:
            parent = parent[key]
        old = parent[last]
        change = draw(
            st.sampled_from(
                ("exchange", "exchange", "other", "drop", "nest", "list", "double", "rename", "deepen", "edit")
            )
        )
        if change == "exchange":
            parent[last] = draw(values)
        elif change == "other":
            # Another value of the same document, usually of another type.
            node = document
            for key in draw(st.sampled_from(paths)):
                node = node[key]
            parent[last] = copy.deepcopy(node)
        elif change == "drop":
            del parent[last]
        elif change == "nest":
            parent[last] = {draw(st.sampled_from(("a", "name", str(last)))): old}
        elif change == "list":
            parent[last] = [old]
        elif change == "double" and isinstance(parent, list):
            parent.insert(last, copy.deepcopy(old))
        elif change == "rename" and isinstance(parent, dict):
            parent[draw(st.sampled_from((f"{last}s", str(last).upper(), f" {last}", "x")) | texts)] = parent.pop(last)
        elif change == "deepen":
            deep: Any = old
            for _ in range(draw(st.sampled_from((5, 100, 400)))):
                deep = [deep]
            parent[last] = deep
        elif change == "edit" and isinstance(old, str):
            start = draw(st.integers(0, len(old)))
            parent[last] = old[:start] + draw(texts) + old[start + draw(st.integers(0, 3)) :]
        else:
            parent[last] = draw(values)
    return document


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """These bytes with one byte replaced, a part lost or doubled, or the end missing."""
    start = draw(st.integers(0, len(content) - 1))
    end = draw(st.integers(start, min(start + 60, len(content))))
    replacement = draw(
        st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"]", b",", b"\\ud800", b"\xff", b"\x00", b"\n", b"1e999"])
    )
    return draw(
        st.sampled_from(
            (
                content[:start] + replacement + content[start + 1 :],
                content[:start] + content[end:],
                content[:end] + content[start:],
                content[:start],
            )
        )
    )


def as_json(tree: Any) -> bytes:
    """
    Encode as JSON.

    Infinite numbers and unpaired surrogates are written as another program may do.
    """
    return json.dumps(tree).encode()


def with_key_twice(tree: Mapping[str, Any], key: str, value: Any) -> bytes:
    """Encode as JSON with this key twice, first with another value."""
    return b"{" + json.dumps(key).encode() + b":" + as_json(value) + b"," + as_json(tree).removeprefix(b"{")
