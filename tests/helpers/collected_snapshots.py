"""Usage snapshots that `collect` makes of one cluster of an emulated world."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec

from acr_cleanup.commands.collect import collect
from acr_cleanup.core.mentions import How
from acr_cleanup.records.snapshot import Snapshot
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings


async def collect_cluster(config: Mapping[str, Any], key: str, folder: Path, access: str = "auto") -> Path:
    """Read this cluster of the configuration in this way. Return the file of the snapshot."""
    config = deepcopy(dict(config))
    config["kubernetes_clusters"][key]["access"] = access
    path, out = folder / "collect.json", folder / f"{access}.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    terminal = Terminal(stdout=io.StringIO(), stderr=io.StringIO(), environ={})
    code = await collect(load_settings(path, {}, os.environ), terminal, os.environ, out=out, only=[key])
    assert code == 0
    return out


def findings(snapshot: Path) -> dict[str, Any]:
    """
    Return what the snapshot of one cluster contains, without the way and the time of reading it.

    The order in which objects are read has no meaning, but it numbers the tables of a snapshot. So
    uses are whole here, and lists are sorted. A digest, or a repository of which no names are known,
    is mentioned once, by any of the objects that contain it: here by none. A digest is not mentioned
    where that object uses it: here where any object does.
    """
    [cluster] = msgspec.json.decode(snapshot.read_bytes(), type=Snapshot).clusters
    found = msgspec.to_builtins(cluster) | {"uses": msgspec.to_builtins(list(cluster.each_use()))}
    used = {(use["repository"], use["digest"]) for use in found["uses"] if use["digest"]}
    found["mentions"] = [
        mention | dict.fromkeys(("namespace", "kind", "name", "field"))
        if mention["how"] in {How.DIGEST, How.UNKNOWN}
        else mention
        for mention in found["mentions"]
        if mention["how"] != How.DIGEST or (mention["repository"], mention["digest"]) not in used
    ]
    # The uses say what these are.
    for name in ("access", "read_at", "places", "images"):
        del found[name]
    return {name: sorted(value, key=json.dumps) if isinstance(value, list) else value for name, value in found.items()}
