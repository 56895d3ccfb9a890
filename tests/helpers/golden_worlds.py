"""
Golden worlds: folders that say in JSON what there is, with which inputs the step runs, and what must be left of it.

golden/README.md describes their form. This module makes a `World` of a folder, runs the real step of the GitHub action on it, and
writes what came of it so that two runs on two days write the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import re
import shutil
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest
from aiohttp import web

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.object_parts import image_id
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.registry.repository import DOCKER_LIST, OCI_INDEX
from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST, OCI_MANIFEST, RegistryState, digest_of
from acr_cleanup.emulator.roles import BUILT_IN, CLUSTERS, RoleAssignment, RoleDefinition
from acr_cleanup.emulator.world import GITHUB_ISSUER, FederatedCredential
from acr_cleanup.pipeline import run
from acr_cleanup.runtimes.github import GitHub
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory
from tests.helpers.paths import ROOT

FOLDER = ROOT / "tests" / "scenarios" / "golden"
JSON = dict[str, Any]
NOWHERE = "nowhere"
T = TypeVar("T")

_IMAGE_TYPES = {"docker": DOCKER_MANIFEST, "oci": OCI_MANIFEST}
_INDEX_TYPES = {"docker": DOCKER_LIST, "oci": OCI_INDEX}
# Those whose pods (or revisions) the emulator makes, as their controllers would.
_CONTROLLING = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController"})
_LOCKS: dict[str, dict[str, bool]] = {"write": {"write": False}, "delete": {"delete": False}}
_NAMED = re.compile(r"([a-z0-9][a-z0-9._/-]*[a-z0-9])?((?::[\w.-]+)?)(@?)\{([^{}]+)\}")
_SUBJECT = re.compile(r"\{([^{}]+)\}")
_RESOURCE_ID = (
    "/subscriptions/{0.subscription_id}/resourceGroups/{0.resource_group}"
    "/providers/Microsoft.ContainerService/managedClusters/{0.name}"
)


def names() -> list[str]:
    """The folders that hold a scenario."""
    return sorted(path.parent.name for path in FOLDER.glob("*/registry.json"))


def _assignment(written: str | JSON) -> RoleAssignment:
    """Return the assignment of a built-in role by its name, or of a custom one, perhaps with a condition."""
    role = {"role": written} if isinstance(written, str) else dict(written)
    name, condition = role.pop("role"), role.pop("condition", "")
    actions: JSON = {key: tuple(values) for key, values in role.items()}
    return RoleAssignment(RoleDefinition(name, **actions) if actions else BUILT_IN[name], condition=condition)


# -- the world ----------------------------------------------------------------------------------------------------------------


@dataclass
class Scenario:
    """
    One folder, made into a world. `now` is the moment from which ages count back.

    `digests` knows every manifest by its repository and name.
    """

    folder: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    world: World = field(default_factory=lambda: World(face="proxy"))
    digests: dict[tuple[str, str], str] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    """Clusters that are there and that no input names."""

    def __post_init__(self) -> None:
        self.registry_json: JSON = _read(self.folder / "registry.json")
        self.clusters_json: JSON = _read(self.folder / "clusters.json")
        settings = dict(self.registry_json.get("registry", {}))
        locked = settings.pop("locked_repositories", ())
        if (roles := self.registry_json.get("roles")) is not None:
            self.world.access.assign_only(*map(_assignment, roles))
        for name, value in settings.items():
            if not hasattr(self.registry, name):
                raise KeyError(f"{self.folder.name}: a registry has no {name!r}")
            setattr(self.registry, name, value)
        for repository, manifests in self.registry_json["repositories"].items():
            for manifest in manifests:
                self._push(repository, **manifest)
        for repository in locked:
            self.registry.lock(repository)
        for key, cluster in self.clusters_json.items():
            self._cluster(key, **cluster)
        for fault in self.registry_json.get("faults", ()):
            self.world.faults.append(Fault(**fault | {"path": self.text(fault["path"])} if "path" in fault else fault))
        self.inputs = _inputs(self.folder / "inputs.env")
        earlier = self.folder / "earlier.env"
        self.earlier = _inputs(earlier) if earlier.exists() else None

    @property
    def registry(self) -> RegistryState:
        return self.world.registry

    @property
    def about(self) -> Mapping[str, str]:
        """What it is about: `here`, and of an incident its `thread` and what went wrong `there`."""
        about: Mapping[str, str] = self.registry_json["about"]
        return about

    # -- the registry ------------------------------------------------------------------------------------------

    def _push(
        self,
        repository: str,
        *,
        age: int,
        tags: Sequence[str | JSON] = (),
        name: str = "",
        size_mb: int = 30,
        type: str = "",  # noqa: A002
        platform: str = "linux/amd64",
        index: Sequence[str] | None = None,
        refers_to: str | None = None,
        artifact: str = "application/vnd.dev.cosign.artifact.sig.v1+json",
        locked: str = "",
        hidden: bool = False,
        ghost: bool = False,
    ) -> None:
        moment = self._ago(age)
        written: list[JSON] = [{"tag": each} if isinstance(each, str) else each for each in tags]
        name = name or written[0]["tag"]
        if index is not None:
            digest = self.registry.push_index(
                repository,
                children=[self.digest(repository, each) for each in index],
                age=moment,
                media_type=_INDEX_TYPES.get(type or "oci", type),
                annotations={"org.opencontainers.image.ref.name": name},
                subject=self.digest(repository, refers_to) if refers_to else None,
            )
        elif refers_to is not None:
            digest = self.registry.push_referrer(
                repository, self.digest(repository, refers_to), artifact, age=moment, annotations={"title": name}
            )
        else:
            system, _, architecture = platform.partition("/")
            digest = self.registry.push(
                repository,
                age=moment,
                size=size_mb * 1024 * 1024,
                media_type=_IMAGE_TYPES.get(type or "docker", type),
                architecture=architecture,
                os=system,
                content=f"{repository} {name}",
            )
        if (repository, name) in self.digests:
            raise KeyError(f"{self.folder.name}: {repository} has two manifests called {name!r}")
        self.digests[repository, name] = digest
        for each in written:
            tag = self.tag(repository, each["tag"])
            self.registry.tag(repository, tag, digest, self._ago(each.get("age", age)))
            self._attributes(repository, tag, each.get("locked", ""), each.get("hidden", False))
        self._attributes(repository, digest, locked, hidden)
        if ghost:
            self.registry.ghost(repository, digest)

    def _attributes(self, repository: str, reference: str, locked: str, hidden: bool) -> None:
        if locked or hidden:
            self.registry.lock(repository, reference, list=not hidden, **_LOCKS.get(locked, {}))

    def _ago(self, days: int) -> datetime:
        # A part of a day would make the date of a push depend on the hour of the run.
        if not isinstance(days, int):
            raise TypeError(f"{self.folder.name}: an age is a whole number of days, not {days!r}")
        return self.now - timedelta(days=days)

    def digest(self, repository: str, name: str) -> str:
        """The digest of a manifest by its name; one called `nowhere` is of what nobody has pushed."""
        if name == NOWHERE:
            return digest_of(b"")
        if (repository, name) not in self.digests:
            raise KeyError(f"{self.folder.name}: {repository} has no manifest called {name!r} yet")
        return self.digests[repository, name]

    def tag(self, repository: str, written: str) -> str:
        """A tag as the registry has it: `{name}.sig` is named after the digest of `name`."""
        return _SUBJECT.sub(lambda found: self.digest(repository, found[1]).replace(":", "-"), written)

    # -- the clusters ------------------------------------------------------------------------------------------

    def _cluster(
        self,
        key: str,
        *,
        workloads: Sequence[JSON] = (),
        stopped: bool = False,
        configured: bool = True,
        forbidden: Sequence[str] = (),
        hidden: Sequence[str] = (),
        denied: Sequence[str] = (),
        **state: Any,
    ) -> None:
        made = ClusterState(state.pop("name", f"aks-{key}"), resource_group=state.pop("resource_group", f"rg-{key}"))
        for name, value in state.items():
            if not hasattr(made, name):
                raise KeyError(f"{self.folder.name}: a cluster has no {name!r}")
            setattr(made, name, value)
        made.power_state = "Stopped" if stopped else "Running"
        made.forbidden, made.hidden = set(forbidden), set(hidden)
        for action in denied:
            self.world.access.withhold(f"{CLUSTERS}/{action}", made.resource_id)
        self.world.clusters[key] = made
        if not configured:
            self.forgotten.add(key)
        for workload in workloads:
            self.deploy(made, **workload)

    def deploy(
        self,
        cluster: ClusterState,
        *,
        kind: str,
        name: str,
        images: Sequence[str] = (),
        reports: Mapping[str, str] | None = None,
        history: Sequence[Sequence[str]] = (),
        volumes: Sequence[str] = (),
        api: str = "",
        spec: JSON | None = None,
        data: Mapping[str, str] | None = None,
        revisions: Sequence[Sequence[str]] = (),
        phase: str = "Running",
        **more: Any,
    ) -> None:
        """Add one workload, with what its controller would make of it."""
        namespace, _, short = name.rpartition("/")
        images = [self.text(each) for each in images]
        for place in ("init", "ephemeral"):
            if place in more:
                more[place] = [self.text(each) for each in more[place]]
        by_image = {self.text(image): self.text(said) for image, said in (reports or {}).items()}
        ids = {each: by_image.get(each, self._resolved(each)) for each in (*images, *more.get("init", ()))}
        ids |= {each: by_image.get(each, self._resolved(each)) for each in more.get("ephemeral", ())}
        if kind == "Pod":
            pod = build.pod(namespace, short, images, image_ids=ids, phase=phase, **more)
            if volumes:
                pod["spec"]["volumes"] = [
                    {"name": f"volume-{place}", "image": {"reference": self.text(each)}}
                    for place, each in enumerate(volumes)
                ]
            cluster.add(pod)
        elif kind == "ConfigMap":
            cluster.add(build.configmap(namespace, short, {key: self.text(text) for key, text in (data or {}).items()}))
        elif kind == "HelmRelease":
            for number, revision in enumerate(revisions, 1):
                status = "deployed" if number == len(revisions) else "superseded"
                manifest = "\n---\n".join(_manifest(short, self.text(image)) for image in revision)
                cluster.add(build.helm_release(namespace, short, number, manifest, status=status))
        elif api:
            cluster.add(build.custom_object(api, kind, namespace or None, short, self._texts(spec or {})))
        else:
            make = getattr(build, kind.lower())
            past = [[self.text(image) for image in step] for step in history]
            made = make(namespace, short, images, **more)
            if kind in _CONTROLLING:
                cluster.run(made, history=past, image_ids=ids, phase=phase)
            else:
                cluster.add(made)

    def _resolved(self, image: str) -> str:
        """What a kubelet that had pulled it just now would report."""
        host, _, rest = image.partition("/")
        if host != self.registry.login_server or "@" in rest:
            return image_id(image)
        repository, _, tag = rest.partition(":")
        state = self.registry.repositories.get(repository)
        found = state.tags.get(tag or "latest") if state is not None else None
        return f"{host}/{repository}@{found.digest}" if found is not None else image_id(image)

    def text(self, written: str) -> str:
        """Text of a cluster, in which `REPOSITORY@{name}` stands for a digest; `{repository@name}` stands for it anywhere."""

        def digest(found: re.Match[str]) -> str:
            path, tag, at, name = found.groups()
            repository, explicit, other = name.rpartition("@")
            if not explicit:
                repository = (path or "").partition("/")[2]
            return f"{path or ''}{tag}{at}{self.digest(repository, other)}"

        return _NAMED.sub(digest, written)

    def _texts(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._texts(each) for key, each in value.items()}
        return [self._texts(each) for each in value] if isinstance(value, list) else value

    # -- what happens meanwhile --------------------------------------------------------------------------------

    def meanwhile(self) -> None:
        """What others do between the decision (or the earlier step) and the deletion."""
        for change in self.registry_json.get("meanwhile", ()):
            repository = change["repository"]
            match change["do"]:
                case "tag":
                    self.registry.tag(repository, change["tag"], self.digest(repository, change["to"]), self.now)
                case "push":
                    self._push(repository, **change["manifest"])
                case "delete":
                    self.registry.remove(repository, self.digest(repository, change["name"]))
                case "lock":
                    self.registry.lock(repository, change["tag"])
                case other:
                    raise KeyError(f"{self.folder.name}: nobody can {other!r}")
        for key, workloads in self.registry_json.get("deployed_meanwhile", {}).items():
            for workload in workloads:
                self.deploy(self.world.clusters[key], **workload)

    @property
    def has_meanwhile(self) -> bool:
        return bool(self.registry_json.get("meanwhile") or self.registry_json.get("deployed_meanwhile"))

    def arm_meanwhile(self) -> None:
        """Let it happen when the clusters are about to be read again, which is when everything is decided."""
        done = False

        async def happen(_: web.Request) -> None:
            nonlocal done
            if not done:
                done = True
                self.meanwhile()

        first = len(self.world.clusters) - len(self.forgotten)
        self.world.faults.append(
            Fault(service="arm", path="listClusterUserCredential", after=first, times=1, before=happen)
        )

    # -- what is there -----------------------------------------------------------------------------------------

    def things(self) -> set[str]:
        """Every tag (`repository:tag`) and every manifest that never had one (`repository@name`), as the folder writes them."""
        meanwhile = self.registry_json.get("meanwhile", ())
        pushed = [(each["repository"], each["manifest"]) for each in meanwhile if each["do"] == "push"]
        found = {f"{each['repository']}:{each['tag']}" for each in meanwhile if each["do"] == "tag"}
        repositories = self.registry_json["repositories"].items()
        for repository, manifest in (*((name, each) for name, those in repositories for each in those), *pushed):
            tags = [each if isinstance(each, str) else each["tag"] for each in manifest.get("tags", ())]
            found |= {f"{repository}:{tag}" for tag in tags} or {f"{repository}@{manifest['name']}"}
        return found

    def taken_by_others(self) -> set[str]:
        """The tags that somebody else deletes meanwhile."""
        deleted = {
            (each["repository"], each["name"])
            for each in self.registry_json.get("meanwhile", ())
            if each["do"] == "delete"
        }
        return {f"{repository}:{name}" for repository, name in deleted}

    def written(self, tag: str) -> str:
        """A tag of a report (`repository:tag`) as the folder writes it."""
        repository = tag.partition(":")[0]
        for (place, name), digest in (*self.digests.items(), ((repository, NOWHERE), digest_of(b""))):
            if place == repository:
                tag = tag.replace(digest.replace(":", "-"), f"{{{name}}}")
        return tag

    def is_there(self, thing: str) -> bool:
        """Does the registry still have this tag, or this manifest?"""
        tagged = ":" in thing
        repository, _, name = thing.partition(":" if tagged else "@")
        state = self.registry.repositories.get(repository)
        if state is None:
            return False
        if tagged:
            return self.tag(repository, name) in state.tags
        return self.digest(repository, name) in state.manifests

    def survivors(self, code: int) -> JSON:
        """What the registry holds now, for people: names beside digests."""
        called = {(repository, digest): name for (repository, name), digest in self.digests.items()}
        return {
            "exit": code,
            "repositories": {
                name: {
                    "tags": {tag: state.tags[tag].digest for tag in sorted(state.tags)},
                    "manifests": {
                        digest: called[name, digest]
                        for digest in sorted(state.manifests, key=lambda d: called[name, d])
                    },
                }
                for name, state in sorted(self.registry.repositories.items())
            },
        }

    def broken(self) -> set[str]:
        """Indexes that want a child: there must never be one more of them than before."""
        return {
            f"{name}@{parent} wants {child}"
            for name, state in self.registry.repositories.items()
            for parent, manifest in state.manifests.items()
            for child in manifest.children
            if child not in state.manifests
        }


def _read(path: Path) -> JSON:
    document: JSON = json.loads(path.read_text(encoding="utf-8"))
    return document


def _inputs(path: Path) -> dict[str, str]:
    r"""`name=value` lines, of which those that begin with # are remarks; `\n` in a value is the end of a line."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {name: value.replace("\\n", "\n") for name, _, value in (line.partition("=") for line in lines)}


def _manifest(name: str, image: str) -> str:
    return (
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  template:\n    spec:\n"
        f"      containers:\n        - name: main\n          image: {image}\n"
    )


# -- the step -----------------------------------------------------------------------------------------------------------------


class Served:
    """
    Serves a world over the real wire, from a thread of its own, for the step runs its own event loop, as it does on a runner.

    The world may be changed from outside only while nobody asks it anything.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="emulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def emulators(self) -> list[Emulator]:
        return [self._emulator]

    def environment(self) -> dict[str, str]:
        return {**self._emulator.environment(), **self._emulator.github_environment()}

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  (told to whoever waits)
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with Emulator(self._world) as self._emulator:
            self._ready.set()
            await self._end.wait()


class Joined:
    """
    Joins the step and the world in one loop, by memory: the same step and the same answers, in a fifth of the time.

    Whatever leaves that loop, as asking GitHub for a token does, needs the real wire.
    """

    def __init__(self, world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._world = world
        self._folder = folder
        self._monkeypatch = monkeypatch
        self.emulators: list[Emulator] = []

    def __enter__(self) -> Self:
        connect_in_memory(self._monkeypatch)
        self._monkeypatch.setattr(
            asyncio, "run", lambda work: run_in_virtual_time(lambda: self._beside_the_world(work))
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was patched ends with the test."""

    def environment(self) -> dict[str, str]:
        return {}

    async def _beside_the_world(self, work: Coroutine[Any, Any, T]) -> T:
        async with serve_in_memory(self._world, self._folder) as tool:
            self.emulators.append(tool.emulator)
            return await work


@dataclass
class Step:
    """What a step left behind."""

    code: int
    log: str
    summary: str
    outputs: dict[str, str]
    report_dir: Path


@dataclass
class Runner:
    """A runner of GitHub with its folders, on which steps act on the served scenario."""

    scenario: Scenario
    served: Served | Joined
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        self.workspace = self.folder / "workspace"
        for name in ("workspace", "temp", "commands"):
            (self.folder / name).mkdir()
        if (given := self.scenario.folder / "workspace").is_dir():
            shutil.copytree(given, self.workspace, dirs_exist_ok=True)

    def step(self, inputs: Mapping[str, str]) -> Step:
        """Run one step in this process, and give everything in it back as it was."""
        outputs, summary = (self.folder / "commands" / name for name in ("output", "summary"))
        for path in (outputs, summary):
            path.write_text("", encoding="utf-8")
        given = {"auth-type": "environment", **self._world_of(inputs), **inputs}
        variables = {
            **self.served.environment(),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_OUTPUT": str(outputs),
            "GITHUB_STEP_SUMMARY": str(summary),
            "RUNNER_TEMP": str(self.folder / "temp"),
            **{f"INPUT_{name.replace(' ', '_').upper()}": value for name, value in given.items()},
        }
        if given["auth-type"] == "oidc":
            variables = {name: value for name, value in variables.items() if not name.startswith("AZURE_")}
        printed = io.StringIO()
        with self.monkeypatch.context() as patch, contextlib.redirect_stdout(printed), _own_log():
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.chdir(self.workspace)
            code = run(GitHub())
        found = _outputs(outputs.read_text(encoding="utf-8"))
        return Step(
            code,
            printed.getvalue(),
            summary.read_text(encoding="utf-8"),
            found,
            (self.workspace / (found.get("report-path") or "acr-cleanup/report.json")).parent,
        )

    def _world_of(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """What says where everything is, for a folder whose inputs do not."""
        directory = self.scenario.world.directory
        login = {"client-id": directory.client_id, "tenant-id": directory.tenant}
        if "config-file" in inputs:
            return login
        clusters = self.scenario.world.clusters.items()
        ids = [_RESOURCE_ID.format(state) for key, state in clusters if key not in self.scenario.forgotten]
        return {**login, "registry": self.scenario.registry.login_server, "clusters": "\n".join(ids)}

    def trust(self) -> None:
        """Let the application trust the job's token."""
        directory = self.scenario.world.directory
        directory.federated.append(FederatedCredential(directory.client_id, GITHUB_ISSUER, directory.github_subject))


def _outputs(text: str) -> dict[str, str]:
    """The outputs as the runner reads them: `name<<delimiter`, lines, delimiter."""
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, _, delimiter = line.partition("<<")
        found[name] = "\n".join(iter(lambda: next(lines), delimiter))
    return found


@contextlib.contextmanager
def _own_log() -> Iterator[None]:
    """A step connects Python's log to itself, for good."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {
        name: logging.getLogger(name).level for name in ("azure", "msal", "aiohttp", "asyncio", "kubernetes", "urllib3")
    }
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)


# -- what came of it ----------------------------------------------------------------------------------------------------------

# What a summary writes of a moment: with hyphens that do not break a line, and sometimes with a time of day.
_DATE = re.compile(r"(\d{4})([-‑])(\d{2})\2(\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?UTC|Z)?)?")
_TOOK = re.compile(r"(?<=\| )(?:\d+ min )?\d+(?:\.\d+)? s(?= \|)")
# The hash of a reviewed plan, which holds the moment at which it was made.
_HASH = re.compile(r"(?<=›, )sha256:[0-9a-f]{12}(?=\))")


def stable(text: str, now: datetime) -> str:
    """The text as every run on every day writes it: moments as days from now, durations without their figures."""

    def days(found: re.Match[str]) -> str:
        moment = date(int(found[1]), int(found[3]), int(found[4]))
        ago = (now.date() - moment).days
        return "‹today›" if ago == 0 else f"‹{ago}d ago›" if ago > 0 else f"‹in {-ago}d›"

    return _HASH.sub("‹hash›", _TOOK.sub("‹time›", _DATE.sub(days, text)))


def artefacts(step: Step, workspace: Path) -> dict[str, str]:
    """Everything that a step leaves for people and machines to read, the masks aside: those are said for the runner alone."""
    log = "\n".join(line for line in step.log.splitlines() if not line.startswith("::add-mask::"))
    files = {
        str(path.relative_to(workspace)): path.read_text(encoding="utf-8")
        for path in workspace.rglob("*")
        if path.is_file()
    }
    return {"the log": log, "the summary": step.summary, "the outputs": json.dumps(step.outputs), **files}
