"""
Worlds made by hypothesis: registries in which everything meets everything, clusters with every source of use, and every option.

A world is a plain value, so that a failing one shrinks and can be read. Few names, few ages and few digests make them collide.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from acr_cleanup.emulator import World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.registry.repository import DOCKER_LIST, OCI_INDEX
from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST, OCI_MANIFEST, RegistryState
from tests.helpers.oracle import Policy, Uses

REPOSITORIES = ("team/a", "a", "team/a/b")
NAMES = ("t0", "t1", "t2", "t3", "dev-1", "dev-2", "main-1", "latest")
CLUSTERS = ("production", "test", "elsewhere")
"""The last one is read beforehand, into a usage snapshot."""


# -- values ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pushed:
    """One manifest. `parts` are what an index lists or (the first) a referrer is about, by their places among those before."""

    kind: str
    tag: str | None
    days: float
    parts: tuple[int, ...] = ()
    lock: str = ""
    ghost: bool = False


@dataclass(frozen=True)
class Named:
    """One more tag on the manifest at this place; one that `signs` is named after the manifest at that place."""

    name: str
    of: int
    days: float
    signs: int | None = None
    lock: str = ""


@dataclass(frozen=True)
class Used:
    """
    One object that names something: a tag, the manifest at a place, or both. `runs`: the place of what a pod's status reports.
    """

    source: str
    repository: int
    tag: str | None
    place: int | None
    runs: int | None = None
    bare: bool = False
    cluster: int = 0


@dataclass(frozen=True)
class Made:
    """A whole world; `pages` is how few entries its services put on a page, `change` what is varied."""

    repositories: tuple[tuple[Pushed, ...], ...]
    names: tuple[tuple[Named, ...], ...]
    locked: tuple[bool, ...]
    uses: tuple[Used, ...]
    more: tuple[Used, ...]
    policy: Policy
    stricter: str
    options: tuple[tuple[str, int], ...]
    change: str


# -- strategies -----------------------------------------------------------------------------------------------

KINDS = [*["image"] * 5, *["oci"] * 2, *["index"] * 4, *["list"] * 2, *["referrer"] * 4]
STRANGE = "application/vnd.example.strange+json"
DAYS = [*[100.0] * 5, 60.0, 60.0, 30.0, 29.9, 1.0, -1.0]
LOCKS = [*[""] * 14, "write", "delete"]


@st.composite
def pushes(draw: st.DrawFn) -> tuple[Pushed, ...]:
    found: list[Pushed] = []
    doubtful = draw(st.integers(0, 5)) == 5
    kinds = [*KINDS, "strange"] if doubtful else KINDS
    for place in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(kinds)) if place else "image"
        parts: tuple[int, ...] = ()
        if kind in {"index", "list"}:
            parts = tuple(draw(st.lists(st.integers(0, place - 1), min_size=1, max_size=3, unique=True)))
        elif kind == "referrer":
            # The subject need not be there.
            parts = (draw(st.integers(-1 if doubtful else 0, place - 1)),)
        tag = draw(st.sampled_from([None, *NAMES, *NAMES]))
        ghost = doubtful and draw(st.integers(0, 3)) == 3
        found.append(Pushed(kind, tag, draw(st.sampled_from(DAYS)), parts, draw(st.sampled_from(LOCKS)), ghost))
    return tuple(found)


@st.composite
def named(draw: st.DrawFn, places: int) -> tuple[Named, ...]:
    place = st.integers(0, places - 1)
    return tuple(
        Named(
            draw(st.sampled_from(NAMES)),
            draw(place),
            draw(st.sampled_from(DAYS)),
            draw(st.one_of(st.none(), place)),
            draw(st.sampled_from(LOCKS)),
        )
        for _ in range(draw(st.integers(0, 3)))
    )


@st.composite
def used(draw: st.DrawFn, sources: list[str], repositories: list[int]) -> Used:
    source = draw(st.sampled_from(sources))
    place = st.integers(0, 7)
    by = draw(st.sampled_from(["tag", "tag", "digest", "both"]))
    return Used(
        source,
        draw(st.sampled_from(repositories)),
        draw(st.sampled_from(NAMES)) if by != "digest" else None,
        draw(place) if by != "tag" else None,
        draw(st.one_of(st.none(), place)) if source in PODS else None,
        draw(st.booleans()) if source in PODS else False,
        draw(st.sampled_from([0, 0, 0, 1, 2])),
    )


EVERYTHING = ("*",)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Mostly the defaults, each option now and then, and any of them together."""

    def now_and_then(name: str, *values: Any) -> Any:
        usual = getattr(Policy, name)
        return draw(st.sampled_from([*[usual] * (2 * len(values)), *values]))

    regex = draw(st.integers(0, 4)) == 4
    tags = [("t.*", "dev-.*"), ("!t1",), (".*", "!(t1|dev-.*)")] if regex else [("t*", "dev-*"), ("!t1",), ("*", "!t1")]
    return Policy(
        older_than=timedelta(days=draw(st.sampled_from([30, 30, 30, 0.5, 60, 90]))),
        scope=draw(st.sampled_from(["running", "running", "referenced", "all", "all"])),
        repositories=now_and_then("repositories", ("team/.*",) if regex else ("team/*",), ("*", "!a")),
        include_tags=now_and_then("include_tags", *tags, ("latest", "*")),
        exclude_tags=now_and_then("exclude_tags", (), ("t0",), ("latest", "main-1")),
        keep_last=now_and_then("keep_last", 1, 2),
        use_regex=regex,
        delete_untagged=draw(st.booleans()),
        include_locked=draw(st.integers(0, 2)) == 2,
        max_deletions=draw(st.sampled_from([*[500] * 8, 0, 1, 3])),
        max_deletion_percent=draw(st.sampled_from([*[None] * 8, 50, 100])),
    )


STRICTER: dict[str, Any] = {
    "older_than": timedelta(days=90),
    "repositories": ("team/a",),
    "include_tags": ("t0",),
    "exclude_tags": ("t1", "dev-1"),
    "keep_last": 3,
}
"""Rules that may only keep more, whatever stands beside them."""


@st.composite
def worlds(draw: st.DrawFn) -> Made:
    count = draw(st.integers(1, len(REPOSITORIES)))
    repositories = tuple(draw(pushes()) for _ in range(count))
    policy = draw(policies())
    if policy.keep_last and draw(st.booleans()):
        policy = replace(policy, keep_last_by="^([a-z]+)-")
    numbers = list(range(count))
    helm = draw(st.booleans())
    sources = list(SOURCES) if helm else [each for each in SOURCES if each != "helm"]
    uses = draw(st.lists(used(sources, numbers), min_size=1, max_size=6))
    # Something runs almost everywhere, or hardly anything would be in scope.
    runs = [Used("pod", number, "live", None) for number in numbers if draw(st.integers(0, 5)) < 5]
    options = (
        ("helm_history", int(helm)),
        ("backup", draw(st.integers(0, 5)) == 5),
        ("exact_sizes", draw(st.integers(0, 5)) == 5),
        ("concurrency", draw(st.sampled_from([8, 1, 2]))),
    )
    return Made(
        repositories,
        tuple(draw(named(len(each))) for each in repositories),
        tuple(draw(st.integers(0, 19)) == 19 for _ in numbers),
        (*runs, *uses),
        tuple(draw(st.lists(used(QUIET, numbers), min_size=1, max_size=2))),
        policy,
        draw(st.sampled_from(sorted(STRICTER))),
        options,
        draw(st.sampled_from(["usage", "rule", "order"])),
    )


# -- sources of use -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Object:
    """What a source is asked to name, and where."""

    cluster: ClusterState
    name: str
    image: str
    reported: str


def _plain(make: Callable[..., dict[str, Any]], **more: Any) -> Callable[[_Object], None]:
    return lambda it: it.cluster.add(make("ns", it.name, [it.image], **more))


def _pod(**more: Any) -> Callable[[_Object], None]:
    return lambda it: it.cluster.add(build.pod("ns", it.name, [it.image], image_ids=[it.reported], **more))


def _beside(place: str) -> Callable[[_Object], None]:
    """In another place of a pod that runs something else."""

    def add(it: _Object) -> None:
        more: dict[str, Any] = {place: [it.image], "image_ids": {it.image: it.reported}}
        it.cluster.add(build.pod("ns", it.name, ["ghcr.io/other/thing:1"], **more))

    return add


def _volume(it: _Object) -> None:
    made = build.pod("ns", it.name, ["ghcr.io/other/thing:1"])
    made["spec"]["volumes"] = [{"name": "model", "image": {"reference": it.image}}]
    it.cluster.add(made)


def _argument(it: _Object) -> None:
    made = build.deployment("ns", it.name, ["ghcr.io/other/operator:1"])
    made["spec"]["template"]["spec"]["containers"][0]["args"] = [f"--sidecar={it.image}"]
    it.cluster.add(made)


def _history(it: _Object) -> None:
    it.cluster.run(build.deployment("ns", it.name, ["ghcr.io/other/thing:2"]), history=[[it.image]])


def _helm(it: _Object) -> None:
    text = (
        f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\nspec:\n  containers:\n  - name: x\n    image: {it.image}\n"
    )
    it.cluster.add(build.helm_release("ns", it.name, 1, text))


PODS: dict[str, Callable[[_Object], None]] = {
    "pod": _pod(),
    "pending pod": _pod(phase="Pending"),
    "finished pod": _pod(phase="Succeeded"),
    "init container": _beside("init"),
}
"""These make a repository run."""

SOURCES: dict[str, Callable[[_Object], None]] = {
    **PODS,
    "ephemeral container": _beside("ephemeral"),
    "image volume": _volume,
    "deployment": _plain(build.deployment, replicas=0),
    "stateful set": _plain(build.statefulset, replicas=0),
    "daemon set": _plain(build.daemonset),
    "replica set": _plain(build.replicaset, replicas=0),
    "replication controller": _plain(build.replicationcontroller, replicas=0),
    "job": _plain(build.job, suspend=True),
    "cron job": _plain(build.cronjob, suspend=True),
    "stored template": _plain(build.podtemplate),
    "stateful set's history": _plain(build.controllerrevision, owner=("StatefulSet", "x")),
    "deployment's history": _history,
    "argument": _argument,
    "custom resource": lambda it: it.cluster.add(
        build.custom_object("contoso.example/v1", "Widget", "ns", it.name, {"run": {"with": ["--image", it.image]}})
    ),
    "config map": lambda it: it.cluster.add(build.configmap("ns", it.name, {"x.yaml": f"x:\n  image: {it.image}\n"})),
    "template": lambda it: it.cluster.add(
        build.custom_object("contoso.example/v1", "Widget", "ns", it.name, {"image": it.image})
    ),
    "helm": _helm,
}

QUIET = [each for each in SOURCES if each not in PODS and each not in {"helm", "template"}]
"""What uses an image and makes no repository run."""


# -- making it ------------------------------------------------------------------------------------------------


@dataclass
class Place:
    """A made world, and what its clusters need."""

    made: Made
    world: World = field(default_factory=lambda: World(face="proxy"))
    uses: Uses = field(default_factory=Uses)
    digests: dict[str, list[str]] = field(default_factory=dict)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    added: int = 0

    def __post_init__(self) -> None:
        for key in CLUSTERS:
            self.world.clusters[key] = ClusterState(f"aks-{key}", auth="token")
        for number, name in enumerate(REPOSITORIES[: len(self.made.repositories)]):
            self._fill(name, self.made.repositories[number], self.made.names[number])
            if self.made.locked[number]:
                self.registry.lock(name)
        for each in self.made.uses:
            self.use(each)
        # Clusters in which nothing was put are not worth reading.
        for key in CLUSTERS[1:]:
            if not self.world.clusters[key].objects:
                del self.world.clusters[key]

    @property
    def registry(self) -> RegistryState:
        return self.world.registry

    def _when(self, days: float) -> datetime:
        return self.now - timedelta(days=days)

    def _fill(self, name: str, pushed: tuple[Pushed, ...], names: tuple[Named, ...]) -> None:
        registry = self.registry
        digests = self.digests[name] = list[str]()
        for place, each in enumerate(pushed):
            when, parts = (
                self._when(each.days),
                [digests[part] if part >= 0 else "sha256:" + "0" * 64 for part in each.parts],
            )
            match each.kind:
                case "image" | "oci":
                    kind = DOCKER_MANIFEST if each.kind == "image" else OCI_MANIFEST
                    # The same content everywhere: repositories share their digests.
                    digest = registry.push(name, each.tag, age=when, media_type=kind, content=f"{each.kind} {place}")
                case "index" | "list":
                    kind = OCI_INDEX if each.kind == "index" else DOCKER_LIST
                    note = {"n": str(place)}
                    digest = registry.push_index(
                        name, each.tag, children=parts, age=when, media_type=kind, annotations=note
                    )
                case "referrer":
                    digest = registry.push_referrer(name, parts[0], tag=each.tag, age=when)
                case _:
                    body = json.dumps({"mediaType": STRANGE, "n": place}).encode()
                    digest = registry.put(name, each.tag, body, STRANGE, when)
            digests.append(digest)
        registry.push(name, "live", age=self._when(1), content="live")
        state = registry.repositories[name]
        for number, more in enumerate(names):
            called = (
                more.name if more.signs is None else f"sha256-{digests[more.signs][7:]}{('', '.sig', '.att')[number]}"
            )
            registry.tag(name, called, digests[more.of], self._when(more.days))
            if more.lock:
                registry.lock(name, called, **{more.lock: False})
        for digest, each in zip(digests, pushed, strict=True):
            if each.lock:
                registry.lock(name, digest, **{each.lock: False})
            # What nobody can read and no tag names is not even asked for: it may be anything.
            if each.ghost and (each.kind != "referrer" or state.manifests[digest].tags):
                registry.ghost(name, digest)

    def use(self, each: Used) -> None:
        """Add one object to a cluster, and note what it needs."""
        name = REPOSITORIES[each.repository]
        known = self.digests[name]
        digest = None if each.place is None else known[each.place % len(known)]
        runs = None if each.runs is None else known[each.runs % len(known)]
        self.uses.named.add(name)
        image = self.registry.image(name, each.tag, digest)
        if each.source == "template":
            self.uses.any.add(name)
            image = self.registry.image(name, "$(TAG)")
        else:
            self.uses.tags |= {(name, each.tag)} if each.tag else set()
            self.uses.digests |= {(name, digest)} if digest else set()
        if each.source in PODS:
            self.uses.running.add(name)
            self.uses.digests |= {(name, runs)} if runs else set()
        reported = "" if runs is None else runs if each.bare else self.registry.image(name, digest=runs)
        self.added += 1
        cluster = self.world.clusters[CLUSTERS[each.cluster]]
        SOURCES[each.source](_Object(cluster, f"x{self.added}", image, reported))

    def config(self, policy: Policy, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration file: this one, with the policy and the options in it."""
        asked: dict[str, Any] = dict(self.made.options)
        for each in fields(Policy):
            value = getattr(policy, each.name)
            if value != each.default:
                asked[each.name] = list(value) if isinstance(value, tuple) else value
        if "older_than" in asked:
            asked["older_than"] = f"{int(policy.older_than.total_seconds() // 3600)}h"
        return {**config, **asked}
