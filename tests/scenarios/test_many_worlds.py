"""Worlds made by chance, the whole tool run on each, and the registry afterwards judged by the rule written down once more."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.emulator.repository import RepositoryState
from tests.scenarios.stage import OLD, YOUNG, Stage, always, build, impatient, staged

REPOSITORIES = ("team/a", "team/a/b", "c")
WORKLOADS: dict[str, Callable[[str, str, list[str]], dict[str, Any]]] = {
    "cron job": build.cronjob,
    "deployment": lambda *to: build.deployment(*to, replicas=0),
    "stateful set": lambda *to: build.statefulset(*to, replicas=0),
    "job": lambda *to: build.job(*to, suspend=True),
    "stored template": build.podtemplate,
}


@dataclass
class Used:
    """What the clusters need, by repository, noted while the world is made."""

    tags: set[tuple[str, str]] = field(default_factory=set)
    digests: set[tuple[str, str]] = field(default_factory=set)
    running: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Before:
    """One repository as it was."""

    tags: dict[str, str]
    old: frozenset[str]
    locked: frozenset[str]
    children: dict[str, tuple[str, ...]]
    subjects: dict[str, str | None]

    @classmethod
    def of(cls, state: RepositoryState, stage: Stage) -> Before:
        limit = stage.registry.moment(OLD) + (OLD - YOUNG) / 2
        manifests = state.manifests.values()
        return cls(
            {name: tag.digest for name, tag in state.tags.items()},
            frozenset(name for name, tag in state.tags.items() if tag.updated < limit),
            frozenset(
                name
                for name, tag in state.tags.items()
                if tag.attributes.locked or state.manifests[tag.digest].attributes.locked
            ),
            {each.digest: tuple(child for child in each.children if child in state.manifests) for each in manifests},
            {each.digest: each.subject for each in manifests},
        )

    def below(self, digest: str) -> set[str]:
        """An index and all it reaches."""
        found = {digest}
        for child in self.children.get(digest, ()):
            found |= self.below(child)
        return found

    def family(self, digest: str) -> set[str]:
        """Everything reached from any index that reaches this digest."""
        return {digest}.union(*(self.below(each) for each in self.children if digest in self.below(each)))


def make(stage: Stage, chance: random.Random) -> Used:
    """Few repositories, few ages and few digests, so that everything meets everything."""
    registry, used = stage.registry, Used()
    registry.repositories.clear()
    stage.cluster.objects.clear()
    for name in REPOSITORIES:
        digests: list[str] = []
        for number in range(chance.randint(3, 9)):
            age = chance.choice((OLD, OLD, OLD, YOUNG))
            tag = chance.choice((f"t{number}", f"t{number}", None, "latest"))
            kind = chance.choice(("image", "image", "index", "referrer")) if digests else "image"
            if kind == "index":
                children = chance.sample(digests, min(len(digests), chance.randint(1, 3)))
                notes = {"n": str(number)}
                digests.append(registry.push_index(name, tag, children=children, age=age, annotations=notes))
            elif kind == "referrer":
                digests.append(registry.push_referrer(name, chance.choice(digests), tag=tag, age=age))
            else:
                digests.append(registry.push(name, tag, age=age))
        for number in range(chance.randint(0, 4)):
            registry.tag(name, f"alias{number}", chance.choice(digests), chance.choice((OLD, OLD, YOUNG)))
        state = registry.repositories[name]
        for reference in (*state.tags, *state.manifests):
            if chance.random() < 0.06:
                registry.lock(name, reference)
        for number in range(chance.randint(0, 3)):
            tag = chance.choice(list(state.tags) or ["t0"])
            digest = chance.choice(list(state.manifests))
            by_tag, by_digest = chance.choice(((True, False), (False, True), (True, True)))
            image = stage.image(tag if by_tag else None, digest if by_digest else None, repository=name)
            used.tags |= {(name, tag)} if by_tag else set()
            used.digests |= {(name, digest)} if by_digest else set()
            if chance.random() < 0.4:
                stage.cluster.add(
                    chance.choice(list(WORKLOADS.values()))("ns", f"w-{name.replace('/', '-')}-{number}", [image])
                )
            else:
                runs = chance.choice(list(state.manifests))
                reported = chance.choice((runs, stage.image(digest=runs, repository=name), ""))
                used.digests |= {(name, runs)} if reported else set()
                used.running.add(name)
                stage.pod(image, image_ids=[reported])
    return used


def judge(name: str, before: Before, after: RepositoryState | None, used: Used) -> None:
    tags = {tag: state.digest for tag, state in after.tags.items()} if after else {}
    manifests = set(after.manifests) if after else set()
    needed = {digest for repository, digest in used.digests if repository == name and digest in before.children}
    families = set[str]().union(*map(before.family, needed))
    attached = {digest for digest, subject in before.subjects.items() if subject is not None}
    may_go = {
        tag
        for tag, digest in before.tags.items()
        if name in used.running
        and tag in before.old
        and tag not in before.locked
        and tag != "latest"
        and (name, tag) not in used.tags
        and digest not in families
    }
    gone = before.tags.keys() - tags.keys()

    assert gone <= may_go
    # What is attached stays with its subject; everything else that may go has to.
    assert {tag for tag in may_go - gone if before.tags[tag] not in attached} == set()
    assert all(before.tags[tag] == digest for tag, digest in tags.items())
    assert set(tags.values()) <= manifests
    for tag in before.tags.keys() - gone:
        assert before.below(before.tags[tag]) <= manifests
    assert families <= manifests
    for digest in manifests:
        assert set(before.children[digest]) <= manifests
    for digest, subject in before.subjects.items():
        assert digest in manifests or subject is None or subject not in manifests
    # Untagged and belonging to nothing: left alone.
    children = {child for each in before.children.values() for child in each}
    alone = before.children.keys() - set(before.tags.values()) - children - attached
    assert alone <= manifests


async def test_whatever_the_world_the_rule_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    went = 0
    async with staged(tmp_path, monkeypatch) as stage:
        for seed in range(16):
            used = make(stage, random.Random(seed))
            before = {name: Before.of(state, stage) for name, state in stage.registry.repositories.items()}
            ran = await stage.tool.apply()
            always(ran, stage)
            try:
                assert ran.code == 0, ran.out
                for name, each in before.items():
                    judge(name, each, stage.registry.repositories.get(name), used)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
            went += ran.report["counts"]["deleted"]
    assert went > 12, "worlds in which nothing goes show nothing"
