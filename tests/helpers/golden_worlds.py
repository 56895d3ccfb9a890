"""
Golden scenarios: folders that describe a world, the inputs of a step, and the expected result.

golden/README.md describes their form.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.roles import BUILT_IN, RoleAssignment, RoleDefinition
from tests.helpers.golden_clusters import GoldenClusters
from tests.helpers.golden_registry import JSON, GoldenRegistry
from tests.helpers.paths import ROOT

FOLDER = ROOT / "tests" / "scenarios" / "golden"


def names() -> list[str]:
    """The folders that contain a scenario."""
    return sorted(path.parent.name for path in FOLDER.glob("*/registry.json"))


def now_before_midnight() -> datetime:
    """The time. Wait in the last minute of a day: a summary must not contain two dates of today."""
    now = datetime.now(UTC)
    if (now.hour, now.minute) == (23, 59):
        time.sleep(60 - now.second)
    return datetime.now(UTC)


def _assignment(written: str | JSON) -> RoleAssignment:
    """
    The assignment of a built-in role by its name, or of a custom one, perhaps with a condition.
    """
    role = {"role": written} if isinstance(written, str) else dict(written)
    name, condition = role.pop("role"), role.pop("condition", "")
    actions: JSON = {key: tuple(values) for key, values in role.items()}
    return RoleAssignment(RoleDefinition(name, **actions) if actions else BUILT_IN[name], condition=condition)


@dataclass
class GoldenScenario:
    """
    The world and the inputs of one folder.

    `earlier`: the inputs of a step that runs before; None if there is no such step.
    """

    folder: Path
    now: datetime = field(default_factory=now_before_midnight)
    world: World = field(default_factory=lambda: World(face="proxy"))

    def __post_init__(self) -> None:
        self.document = _read(self.folder / "registry.json")
        self.registry = GoldenRegistry(self.folder.name, self.world.registry, self.now)
        if (roles := self.document.get("roles")) is not None:
            self.world.access.assign_only(*map(_assignment, roles))
        self.registry.load(self.document["repositories"], dict(self.document.get("registry", {})))
        self.clusters = GoldenClusters(self.world, self.registry)
        for key, cluster in _read(self.folder / "clusters.json").items():
            self.clusters.add(key, **cluster)
        for fault in self.document.get("faults", ()):
            path = {"path": self.clusters.text(fault["path"])} if "path" in fault else {}
            self.world.faults.append(Fault(**fault | path))
        self.inputs = _read_inputs(self.folder / "inputs.env")
        earlier = self.folder / "earlier.env"
        self.earlier = _read_inputs(earlier) if earlier.exists() else None

    @property
    def about(self) -> Mapping[str, str]:
        """`expectation`, and for an incident its `thread` and the `incident` in one sentence."""
        about: Mapping[str, str] = self.document["about"]
        return about

    def items(self) -> set[str]:
        """Every tag (`repository:tag`) and every manifest without a tag (`repository@name`)."""
        changes = self.document.get("changes_by_others", ())
        items = {f"{change['repository']}:{change['tag']}" for change in changes if change["do"] == "tag"}
        manifests = [
            (repository, manifest)
            for repository, listed in self.document["repositories"].items()
            for manifest in listed
        ]
        manifests += [(change["repository"], change["manifest"]) for change in changes if change["do"] == "push"]
        for repository, manifest in manifests:
            tags = [tag if isinstance(tag, str) else tag["tag"] for tag in manifest.get("tags", ())]
            items |= {f"{repository}:{tag}" for tag in tags} or {f"{repository}@{manifest['name']}"}
        return items

    def result(self, code: int) -> JSON:
        """The exit code and the contents of the registry, as `survives.json` has them."""
        return {"exit": code, "repositories": self.registry.contents()}

    # -- changes by others ------------------------------------------------------------------------

    @property
    def has_changes_by_others(self) -> bool:
        return bool(self.document.get("changes_by_others") or self.document.get("deployed_by_others"))

    def change_by_others(self) -> None:
        """
        Change the world as others do between the plan (or the earlier step) and the deletions.
        """
        for change in self.document.get("changes_by_others", ()):
            repository, state = change["repository"], self.registry.state
            match change["do"]:
                case "tag":
                    state.tag(repository, change["tag"], self.registry.digest(repository, change["to"]), self.now)
                case "push":
                    self.registry.push(repository, **change["manifest"])
                case "delete":
                    state.remove(repository, self.registry.digest(repository, change["name"]))
                case "lock":
                    state.lock(repository, change["tag"])
                case other:
                    raise KeyError(f"{self.folder.name}: unknown change {other!r}")
        for key, workloads in self.document.get("deployed_by_others", {}).items():
            for workload in workloads:
                self.clusters.deploy(key, **workload)

    def change_by_others_at_second_look(self) -> None:
        """Make these changes when the clusters are read again, right after the plan is complete."""
        done = False

        async def change(_: web.Request) -> None:
            nonlocal done
            if not done:
                done = True
                self.change_by_others()

        first_reads = len(self.world.clusters) - len(self.clusters.unconfigured)
        self.world.faults.append(
            Fault(service="arm", path="listClusterUserCredential", after=first_reads, times=1, before=change)
        )

    def deleted_by_others(self) -> set[str]:
        """The tags that others delete during the run."""
        changes = self.document.get("changes_by_others", ())
        return {f"{change['repository']}:{change['name']}" for change in changes if change["do"] == "delete"}


def _read(path: Path) -> JSON:
    document: JSON = json.loads(path.read_text(encoding="utf-8"))
    return document


def _read_inputs(path: Path) -> dict[str, str]:
    r"""Read `name=value` lines. Lines that begin with # are comments; `\n` is a line end."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {name: value.replace("\\n", "\n") for name, _, value in (line.partition("=") for line in lines)}
