"""Valid documents, spoilt: values exchanged, lost, doubled, renamed, nested, texts cut: what everything that reads must bear."""

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
"""How many examples of each law are tried."""

PROMPT = 2.0
"""Seconds of CPU that no small document may take. An ordinary one takes a millisecond; what grows too fast takes minutes."""

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
# Copies: what is put into one example must not be changed by the next.
values = st.sampled_from(ODD).map(copy.deepcopy) | texts
DELETE = object()


def law(function: F) -> F:
    """So many examples, each of which may take its time on a busy machine."""
    made: F = settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )(function)
    return made


@contextmanager
def prompt() -> Iterator[None]:
    """What happens inside takes no more CPU than `PROMPT`."""
    began = time.process_time()
    yield
    assert time.process_time() - began < PROMPT


def places(tree: Any) -> list[tuple[Any, ...]]:
    """The path of every value in a tree but of the root."""
    found: list[tuple[Any, ...]] = []

    def walk(node: Any, path: tuple[Any, ...]) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, inner in items:
            found.append((*path, key))
            walk(inner, (*path, key))

    walk(tree, ())
    return found


@st.composite
def spoilt(draw: st.DrawFn, tree: Any, most: int = 3) -> Any:
    """This tree (of JSON) after one to `most` mishaps; rarely it is as it was."""
    made = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, most))):
        where = places(made)
        if not where:
            return draw(values)
        *above, last = draw(st.sampled_from(where))
        holder = made
        for key in above:
            holder = holder[key]
        old = holder[last]
        what = draw(
            st.sampled_from(
                ("exchange", "exchange", "other", "drop", "nest", "list", "double", "rename", "deepen", "edit")
            )
        )
        if what == "exchange":
            holder[last] = draw(values)
        elif what == "other":
            # Another value of the same document, most likely of another kind.
            node = made
            for key in draw(st.sampled_from(where)):
                node = node[key]
            holder[last] = copy.deepcopy(node)
        elif what == "drop":
            del holder[last]
        elif what == "nest":
            holder[last] = {draw(st.sampled_from(("a", "name", str(last)))): old}
        elif what == "list":
            holder[last] = [old]
        elif what == "double" and isinstance(holder, list):
            holder.insert(last, copy.deepcopy(old))
        elif what == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from((f"{last}s", str(last).upper(), f" {last}", "x")) | texts)] = holder.pop(last)
        elif what == "deepen":
            deep: Any = old
            for _ in range(draw(st.sampled_from((5, 100, 400)))):
                deep = [deep]
            holder[last] = deep
        elif what == "edit" and isinstance(old, str):
            at = draw(st.integers(0, len(old)))
            holder[last] = old[:at] + draw(texts) + old[at + draw(st.integers(0, 3)) :]
        else:
            holder[last] = draw(values)
    return made


@st.composite
def spoilt_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """This text with a byte exchanged, a piece lost or doubled, or its end missing."""
    start = draw(st.integers(0, len(content) - 1))
    end = draw(st.integers(start, min(start + 60, len(content))))
    some = draw(
        st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"]", b",", b"\\ud800", b"\xff", b"\x00", b"\n", b"1e999"])
    )
    return draw(
        st.sampled_from(
            (
                content[:start] + some + content[start + 1 :],
                content[:start] + content[end:],
                content[:end] + content[start:],
                content[:start],
            )
        )
    )


def dumped(tree: Any) -> bytes:
    """As JSON; a number without end, and half a character, as another program would write them."""
    return json.dumps(tree).encode()


def twice(tree: Mapping[str, Any], key: str, value: Any) -> bytes:
    """As JSON in which this key is written twice, at first with another value."""
    return b"{" + json.dumps(key).encode() + b":" + dumped(value) + b"," + dumped(tree).removeprefix(b"{")
