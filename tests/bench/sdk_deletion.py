"""
The yardstick: the same deletions with the registry's SDK as its documentation shows it.

`python -m tests.bench.sdk_deletion THREADS AT_MOST ENDPOINT AUTHORITY AUDIENCE REPOSITORY...` lists
tags and manifests and deletes manifests whose tags are all old. It does not look at clusters,
children, locks, signatures and limits, and neither checks again before deleting nor verifies
afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.serving import Served


def delete_with_sdk(world: Served, repositories: Sequence[str], *, threads: int, at_most: int = 1_000_000) -> None:
    """Delete old manifests in another process, with `threads` deletions at once."""
    cloud = world.config["cloud"]
    endpoints = (world.config["container_registry"]["url"], cloud["authority"], cloud["audience"])
    words = [sys.executable, "-m", "tests.bench.sdk_deletion", str(threads), str(at_most), *endpoints, *repositories]
    environment = {**os.environ, **world.environment}
    subprocess.run(words, check=True, capture_output=True, env=environment, cwd=Path(__file__).parents[2])


def main() -> None:
    from azure.containerregistry import ContainerRegistryClient
    from azure.identity import ClientSecretCredential

    threads, at_most, server, authority, audience, *repositories = sys.argv[1:]
    credential = ClientSecretCredential(
        os.environ["AZURE_TENANT_ID"],
        os.environ["AZURE_CLIENT_ID"],
        os.environ["AZURE_CLIENT_SECRET"],
        authority=authority,
        disable_instance_discovery=True,
    )
    before = datetime.now(UTC) - timedelta(days=30)
    with (
        ContainerRegistryClient(f"https://{server}", credential, audience=audience) as client,
        ThreadPoolExecutor(int(threads)) as pool,
    ):
        old = []
        for name in repositories:
            young = {tag.digest for tag in client.list_tag_properties(name) if tag.last_updated_on > before}
            listed = client.list_manifest_properties(name)
            old += [(name, manifest.digest) for manifest in listed if manifest.digest not in young]
        list(pool.map(lambda item: client.delete_manifest(*item), old[: int(at_most)]))


if __name__ == "__main__":
    main()
