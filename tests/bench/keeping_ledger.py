"""
Read a ledger, look up every tag of a generated registry in it, and write it again.

`python -m tests.bench.keeping_ledger TAGS REPOSITORIES FILE`. Prints CPU seconds, bytes and peak
memory as JSON. Every tag is a candidate, and each hundredth one was used by another workload. Without
a ledger, the first run makes one. The time for generating tags is subtracted.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.media_types import OCI_IMAGE
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.references import Digest, ImageReference
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.usage import ClusterScan, ImageUse, UsageIndex
from acr_cleanup.core.workload import Workload
from acr_cleanup.stages.ledger import LedgerKeeper

FIRST = datetime(2026, 11, 1, tzinfo=UTC)
HOST = "contoso.azurecr.io"
POLICY = RetentionPolicy(scope=Scope.ALL, probation=timedelta(days=7), used_within=timedelta(days=14))
USED = 100


def inventory(repository: str, tags: int) -> RepositoryInventory:
    pushed = FIRST - timedelta(days=90)
    digests = [Digest(f"sha256:{sha256(f'{repository}{number}'.encode()).hexdigest()}") for number in range(tags)]
    return RepositoryInventory(
        repository,
        tuple(Tag(f"main-20260101.{number}", digest, pushed) for number, digest in enumerate(digests)),
        {
            digest: Manifest(digest, OCI_IMAGE, platform="linux/amd64", updated_at=pushed, known=True)
            for digest in digests
        },
    )


def uses(repositories: int, tags: int) -> tuple[ImageUse, ...]:
    return tuple(
        ImageUse(
            Workload("production", "team", "Pod", f"build-{repository}-{number}"), "main", "spec", "",
            ImageReference(HOST, f"team/service-{repository}", f"main-20260101.{number}", None), running=True,
        )
        for repository in range(repositories)
        for number in range(0, tags, USED)
    )  # fmt: skip


def main() -> None:
    tags, repositories, path = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    each = tags // repositories
    first = not path.exists()
    now = FIRST if first else FIRST + timedelta(days=14)
    scan = ClusterScan("production", uses(repositories, each) if first else ())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    began = time.process_time()
    keeper = LedgerKeeper(path, HOST, POLICY, now)
    keeper.open()
    usage = keeper.attach(UsageIndex.of((scan,), now))
    making = planned = 0.0
    for number in range(repositories):
        generated = time.process_time()
        repository = inventory(f"team/service-{number}", each)
        if first:
            # A run reads at most as many bodies as it deletes, or keeps.
            for manifest in [*repository.manifests.values()][::2]:
                keeper.bodies.note(repository.name, manifest, manifest)
        making += time.process_time() - generated
        plan = plan_repository(repository, usage, POLICY, now)
        keeper.look(Evidence(repository, usage, POLICY, now), plan)
        planned += len(plan.deletions)
    keeper.write(Plan(HOST, POLICY, now, usage), now, None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert planned == (0 if first else tags - -(-each // USED) * repositories), planned
    figures = {"tags": tags, "cpu": time.process_time() - began - making, "bytes": path.stat().st_size}
    print(json.dumps(figures | {"peak": peak, "before": before}))


if __name__ == "__main__":
    main()
