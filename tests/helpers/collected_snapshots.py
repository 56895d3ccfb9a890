"""Usage snapshots that `collect` makes of one cluster of an emulated world."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from acr_cleanup.commands.collect import collect
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
    """Return what the snapshot of one cluster contains, without the way and the time of reading it."""
    [cluster] = json.loads(snapshot.read_text(encoding="utf-8"))["clusters"]
    return {name: value for name, value in cluster.items() if name not in {"access", "read_at"}}
