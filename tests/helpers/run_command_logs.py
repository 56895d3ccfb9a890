"""Logs of run commands, made without a shell."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from typing import Any

from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP
from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.clusters.run_command.log import CommandResult
from acr_cleanup.clusters.run_command.read import read_result
from acr_cleanup.core.usage import ClusterScan
from tests.helpers.cluster_objects import SEARCH, WEB

U = "\x1f"


def counts(**others: str) -> list[str]:
    """
    Return the records of a server with the built-in kinds only: all lists succeeded, with three
    objects each, or `others`.
    """
    lines = [f"1 #{U}api-resources{U}0{U}", f"1 #{U}/apis{U}0{U}", f"1 r{U}pods{U}v1{U}Pod"]
    for kind in (*KINDS, CONFIG_MAP):
        lines.append(f"1 #{U}{kind}{U}0{U}")
        lines.append(others.get(kind.resource, f"3 c{U}{kind.api_version}{U}{kind.name}{U}"))
    return lines


def pod_line(image: str = f"{WEB}:1", **metadata: Any) -> str:
    spec = {"containers": [{"name": "main", "image": image}]}
    fields = ["", "", "", json.dumps(metadata) if metadata else "", json.dumps(spec), "", ""]
    return "1 " + U.join(["p", "v1", "Pod", "shop", "web", *fields])


def block(*lines: str) -> list[str]:
    body = "\n".join(lines).encode()
    packed = base64.encodebytes(gzip.compress(body)).decode().splitlines()
    return [f"acr-cleanup begin 3 {hashlib.sha256(body).hexdigest()} {len(body)}", *packed, "acr-cleanup end"]


def read_log(logs: str, *, exit_code: int | None = 0, state: str = "Succeeded", reason: str = "") -> ClusterScan:
    return read_result(CommandResult(state, exit_code, logs, reason), "prod", SEARCH)


def whole_log(*more: str) -> str:
    return "\n".join(block(*counts(), pod_line(), *more)) + "\n"
