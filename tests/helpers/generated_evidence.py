"""
Further evidence of generated worlds: texts, services, pull logs, the keep list, rules, unlisted manifests.

As in `generated_worlds`, the values are plain, so that hypothesis can shrink and print them.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from acr_cleanup.emulator import World
from tests.helpers.oracle import RepositoryRule, Uses
from tests.helpers.text_ways import HOSTS, SPLIT, WAYS, Written

PULLED_WITHIN = 90


@dataclass(frozen=True)
class NamedImage:
    """A tag, the manifest at `position`, or both, in one repository. `days`: since it was pulled."""

    repository: int
    tag: str | None
    position: int | None
    days: float = 0


@dataclass(frozen=True)
class GeneratedText:
    """An object in whose text or fields a way of `text_ways` writes an image."""

    way: str
    host: str
    repository: int
    tag: str
    cluster: int


@dataclass(frozen=True)
class GeneratedEvidence:
    """
    `apps`: images of Container Apps. `pulls`: rows of the pull log. `unlisted`: manifests that no list
    shows.
    """

    texts: tuple[GeneratedText, ...] = ()
    apps: tuple[NamedImage, ...] = ()
    pulls: tuple[NamedImage, ...] = ()
    keep: tuple[NamedImage, ...] = ()
    unlisted: tuple[NamedImage, ...] = ()


@st.composite
def named_images(draw: st.DrawFn, names: Sequence[str], repositories: Sequence[int]) -> NamedImage:
    by = draw(st.sampled_from(["tag", "tag", "digest", "both"]))
    return NamedImage(
        draw(st.sampled_from(repositories)),
        draw(st.sampled_from(names)) if by != "digest" else None,
        draw(st.integers(0, 7)) if by != "tag" else None,
        draw(st.sampled_from([1.0, 40.0, 200.0])),
    )


@st.composite
def evidence(draw: st.DrawFn, names: Sequence[str], repositories: Sequence[int]) -> GeneratedEvidence:
    """Each kind in one world of six or so, unlisted manifests in one of twelve."""
    texts = st.builds(
        GeneratedText,
        st.sampled_from(list(WAYS)),
        st.sampled_from(HOSTS),
        st.sampled_from(repositories),
        st.sampled_from(names),
        st.sampled_from([0, 0, 1, 2]),
    )
    images = named_images(names, repositories)

    def sometimes(one: st.SearchStrategy[Any], most: int, worlds: int = 5) -> tuple[Any, ...]:
        return tuple(draw(st.lists(one, min_size=1, max_size=most))) if draw(st.integers(0, worlds)) == worlds else ()

    unlisted = st.builds(NamedImage, st.sampled_from(repositories), st.none(), st.integers(0, 7))
    return GeneratedEvidence(
        sometimes(texts, 3),
        sometimes(images, 2),
        sometimes(images, 3),
        sometimes(images, 2),
        sometimes(unlisted, 2, 11),
    )


@st.composite
def rules(draw: st.DrawFn, *, regex: bool) -> tuple[RepositoryRule, ...]:
    """Rules for whole repositories, in one world of six or so."""
    rule = st.builds(
        RepositoryRule,
        st.sampled_from([("team/.*",) if regex else ("team/*",), ("a",), ("!a",)]),
        st.sampled_from([None, timedelta(days=0.5), timedelta(days=45), timedelta(days=90)]),
        st.sampled_from([0, 0, 1, 2]),
        st.sampled_from([False, False, False, True]),
    )
    return tuple(draw(st.lists(rule, min_size=1, max_size=2))) if draw(st.integers(0, 5)) == 5 else ()


@dataclass
class BuiltEvidence:
    """
    Puts the evidence into a world, and records what it keeps in `uses`.

    `maybe_tags`: what an object may mean besides: the same tag in any repository.
    `maybe_any`: repositories of which it may mean any tag, because it names one that does not exist.
    `maybe_hidden`: repositories with an unlisted manifest that another one may still name.
    """

    generated: GeneratedEvidence
    world: World
    names: Sequence[str]
    digests: dict[str, list[str]]
    uses: Uses
    maybe_tags: set[tuple[str, str]] = field(default_factory=set)
    maybe_any: set[str] = field(default_factory=set)
    maybe_hidden: set[str] = field(default_factory=set)

    def add(self, clusters: Sequence[str]) -> None:
        for number, text in enumerate(self.generated.texts):
            self._write(text, clusters[text.cluster], f"text-{number}")
        for number, app in enumerate(self.generated.apps):
            name, tag, digest = self._named(app)
            self.world.services.container_app(f"app-{number}", self.world.registry.image(name, tag, digest))
            self.uses.referenced.add(name)
            self.uses.tags |= {(name, tag)} if tag else set()
            self.uses.digests |= {(name, digest)} if digest else set()
        if self.generated.pulls:
            self._log()
        for image in self.generated.keep:
            name, tag, digest = self._named(image)
            self._keep(name, tag, None if tag else digest)
        for image in self.generated.unlisted:
            self._hide(image)

    def possible(self, uses: Uses) -> Uses:
        """These uses, and everything else that the evidence may mean."""
        more = deepcopy(uses)
        more.tags |= self.maybe_tags
        more.any_tag |= self.maybe_any
        more.hidden |= self.maybe_hidden
        return more

    def config(self) -> dict[str, Any]:
        added: dict[str, Any] = {}
        if self.generated.pulls:
            added["pulled_within"] = f"{PULLED_WITHIN}d"
        if self.generated.keep:
            entries = (self._named(image) for image in self.generated.keep)
            added["keep"] = [f"{name}:{tag}" if tag else f"{name}@{digest}" for name, tag, digest in entries]
        return added

    def _named(self, image: NamedImage) -> tuple[str, str | None, str | None]:
        name = self.names[image.repository]
        digests = self.digests[name]
        return name, image.tag, None if image.position is None else digests[image.position % len(digests)]

    def _write(self, text: GeneratedText, cluster: str, name: str) -> None:
        repository = self.names[text.repository]
        written = WAYS[text.way](Written(text.host, repository, text.tag))
        written["metadata"]["name"] = name
        self.world.clusters[cluster].add(written)
        self.uses.tags.add((repository, text.tag))
        self.maybe_tags |= {(other, text.tag) for other in self.digests}
        if text.way in SPLIT and text.tag not in self.world.registry.repositories[repository].tags:
            # Another tag may be meant.
            self.maybe_any |= set(self.digests)

    def _log(self) -> None:
        now = datetime.now(UTC)
        self.world.logs.enable()
        self.world.logs.write("Push", now - timedelta(days=300), "other", "0.1")
        for image in self.generated.pulls:
            name, tag, digest = self._named(image)
            self.world.logs.write("Pull", now - timedelta(days=image.days), name, tag or "", digest or "")
            if image.days < PULLED_WITHIN:
                self._keep(name, tag, digest)
                # The pull was of what the tag names, unless it has moved since.
                named = self.world.registry.repositories[name].tags.get(tag or "")
                self._keep(name, None, named.digest if named else None)

    def _keep(self, name: str, tag: str | None, digest: str | None) -> None:
        self.uses.kept_tags |= {(name, tag)} if tag else set()
        self.uses.kept_digests |= {(name, digest)} if digest else set()

    def _hide(self, image: NamedImage) -> None:
        name, _, digest = self._named(image)
        assert digest is not None
        state = self.world.registry.repositories[name]
        self.world.registry.lock(name, digest, list=False)
        if not state.manifests[digest].tags:
            self.maybe_hidden.add(name)
