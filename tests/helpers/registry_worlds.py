"""Registry worlds as tables: what a world contains, and what an apply must keep of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.helpers.graph_world import APP, OLD, YOUNG, GraphWorld
from tests.helpers.tool_runs import RunResult


class Labels:
    """Pushes manifests of one world and gives each digest a label: its first tag, or a made-up name."""

    def __init__(self, graph: GraphWorld) -> None:
        self.graph = graph
        self.digests: dict[str, str] = {}

    @property
    def registry(self) -> Any:
        return self.graph.registry

    def _add(self, label: str, digest: str) -> str:
        self.digests[label] = digest
        return digest

    def image(self, label: str, *, tag: str | None = "", **image: Any) -> str:
        """Push an image. Without `tag`, its label is its tag."""
        return self._add(label, self.graph.push(label if tag == "" else tag, **image))

    def index(self, label: str, *children: str, tag: str | None = "", **index: Any) -> str:
        options = {"age": OLD, **index}
        digest = self.registry.push_index(APP, label if tag == "" else tag, children=children, **options)
        return self._add(label, digest)

    def attached(self, label: str, subject: str, *, tag: str | None = None, **referrer: Any) -> str:
        """Push a referrer, by default without a tag."""
        options = {"age": OLD, **referrer}
        return self._add(label, self.registry.push_referrer(APP, subject, tag=tag, **options))

    def companion(self, label: str, digest: str, suffix: str = ".sig", *, age: Any = OLD) -> str:
        """Push a signature with the tag scheme of cosign, as cosign 2 does: an image without a platform."""
        tag = named_after(digest, suffix)
        image = self.graph.push(tag, age=age, architecture=None, os=None)
        return self._add(label, image)


def named_after(digest: str, suffix: str = "") -> str:
    return f"{digest.replace(':', '-')}{suffix}"


def _encoded(text: str) -> str:
    """Encode as libtrust does: base64url without padding."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def signed(payload: str, **header: object) -> bytes:
    """A manifest with a signature before its last brace, as `docker push` made it before version 1.10."""
    end = len(payload) - 2
    protected = json.dumps({"formatLength": end, "formatTail": _encoded(payload[end:]), **header})
    signature = json.dumps([{"header": {}, "signature": "", "protected": _encoded(protected)}])
    return f'{payload[:end]},\n   "signatures": {signature}{payload[end:]}'.encode()


@dataclass(frozen=True)
class RegistryWorld:
    """
    build: pushes the manifests and starts the pods.
    kept: labels of manifests, and tags, that must be kept. All others must be deleted.
    kept_untagged: labels of manifests that must be kept, and lose their tag.
    tells: a text that the run must print.
    """

    build: Callable[[Labels], None]
    kept: frozenset[str]
    kept_untagged: frozenset[str]
    options: dict[str, str]
    tells: str

    def play(self, graph: GraphWorld) -> RunResult:
        labels = Labels(graph)
        self.build(labels)
        names = {digest: label for label, digest in labels.digests.items()}
        names[graph.repository.tags["live"].digest] = "live"
        label_of = {
            prefix + named_after(digest, suffix): prefix + label + suffix
            for label, digest in labels.digests.items()
            for suffix in ("", ".sig", ".att", ".sbom")
            for prefix in ("", "prod-")
        }
        before = graph.tags

        ran = graph.apply(**self.options)

        assert ran.code == 0, ran.out + ran.err
        assert not (ran.report["proof"] or {}).get("broken")
        tags = {label_of.get(tag, tag) for tag in graph.tags}
        manifests = {names.get(digest, digest) for digest in graph.manifests}
        expected_tags = {label_of.get(tag, tag) for tag in before} & (self.kept | {"live"})
        expected = {"live"} | self.kept_untagged | (self.kept & set(names.values()))
        assert (tags, manifests) == (expected_tags, expected), (tags, expected_tags, manifests, expected, ran.out)
        assert self.tells in " ".join((ran.out + ran.err).split())
        again = graph.plan(**self.options).planned
        locked = {str(item["tag"]) for item in ran.report["outcomes"] if item["outcome"] == "locked"}
        assert {name.partition(":")[2] for name in again} <= locked, "a second run has something to do"
        return ran


@dataclass
class WorldTable:
    worlds: dict[str, RegistryWorld] = field(default_factory=dict)

    def leaves(
        self, kept: str = "", *, manifests: str = "", tells: str = "", **options: str
    ) -> Callable[[Callable[[Labels], None]], Callable[[Labels], None]]:
        """
        Add a world.

        kept: labels and tags that must be kept. manifests: labels of manifests that must be kept, and
        lose their tag.
        """

        def add(build: Callable[[Labels], None]) -> Callable[[Labels], None]:
            self.worlds[build.__name__] = RegistryWorld(
                build,
                frozenset(kept.split()),
                frozenset(manifests.split()),
                {name.replace("_", "-"): value for name, value in options.items()},
                tells,
            )
            return build

        return add

    @property
    def each(self) -> pytest.MarkDecorator:
        """Run a test with each world."""
        return pytest.mark.parametrize("world", self.worlds.values(), ids=list(self.worlds))


__all__ = ["APP", "OLD", "YOUNG", "Labels", "RegistryWorld", "WorldTable", "named_after", "signed"]
