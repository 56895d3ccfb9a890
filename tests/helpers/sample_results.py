"""
Sample results of a fictional company. The real planner makes the plans from small inventories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

from msgspec import structs

from acr_cleanup.core.inventory import LockState, Manifest, RepositoryInventory, Tag
from acr_cleanup.core.limits import Limits
from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result, Verdict
from acr_cleanup.core.plan import Plan, RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.references import Digest, ImageReference
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.space import Content, Space
from acr_cleanup.core.steps import DeleteManifest
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse, UsageIndex
from acr_cleanup.core.verification import Broken, Missing, Proof
from acr_cleanup.core.workload import Workload
from acr_cleanup.reports.plan_words import refusal_text

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
HOST = "contoso.azurecr.io"
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MIB = 1024 * 1024

FORBIDDEN = Blocker(
    "production",
    "listing cronjobs.batch",
    "403 Forbidden for 'acr-cleanup'.",
    'Grant it get and list on cronjobs (README, "Rights"), or leave the cluster out.',
)
STOPPED = Blocker(
    "staging",
    "reading the cluster aks-staging",
    "It is stopped, so what runs after its next start is unknown.",
    "Start it (az aks start --name aks-staging --resource-group rg-staging), then plan again.",
)


def digest(number: int) -> Digest:
    return Digest(f"sha256:{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:048x}")


def use(
    repository: str,
    tag: str | None,
    kind: str,
    name: str,
    *,
    cluster: str = "production",
    namespace: str = "shop",
    container: str = "app",
    pinned: Digest | None = None,
    running: bool = True,
) -> ImageUse:
    reference = ImageReference(HOST, repository, tag, pinned)
    field = "spec.containers[0].image" if kind == "Pod" else "spec.template.spec.containers[0].image"
    return ImageUse(
        Workload(cluster, namespace, kind, name), container, field, str(reference), reference, running and kind == "Pod"
    )


def deployed(repository: str, tag: str, name: str, *, pods: int = 2, cluster: str = "production") -> list[ImageUse]:
    """A Deployment with its ReplicaSet and pods, as a scan finds them."""
    return [
        use(repository, tag, "Deployment", name, cluster=cluster),
        use(repository, tag, "ReplicaSet", f"{name}-6d4cf56db6", cluster=cluster),
        *(use(repository, tag, "Pod", f"{name}-6d4cf56db6-{number:05}", cluster=cluster) for number in range(pods)),
    ]


def repository(
    name: str, versions: int, *, first: int, every: float = 4, more: Iterable[Tag] = (), size: int = 120 * MIB
) -> RepositoryInventory:
    """Images tagged 1.0.0, 1.0.1, …, pushed `every` so many days, the last one today."""
    tags, manifests = list(more), []
    for number in range(versions):
        moment = NOW - timedelta(days=(versions - 1 - number) * every)
        tags.append(Tag(f"1.{number // 10}.{number % 10}", digest(first + number), moment))
        manifests.append(Manifest(digest(first + number), OCI_IMAGE, size=size, platform="linux/amd64", known=True))
    return RepositoryInventory(name, tuple(tags), {manifest.digest: manifest for manifest in manifests})


def company() -> tuple[list[RepositoryInventory], list[ClusterScan]]:
    """Two clusters, eight repositories, about four hundred tags."""
    old = NOW - timedelta(days=200)
    web = repository("shop/web", 90, first=1000)
    web = replace(
        web,
        tags=(
            *web.tags,
            Tag("latest", digest(1089), NOW),
            Tag("stable", digest(1040), old),
            Tag("release-candidate", digest(1010), old),
            Tag(f"sha256-{digest(1060)[7:]}.sig", digest(1900), NOW - timedelta(days=115)),
        ),
        manifests={
            **web.manifests,
            digest(1900): Manifest(digest(1900), OCI_IMAGE, size=2048, platform="linux/amd64", known=True),
        },
    )
    api = repository("shop/api", 80, first=2000, every=3)
    importer = repository("jobs/importer", 45, first=3000)
    importer = replace(
        importer,
        tags=tuple(structs.replace(tag, lock_state=LockState(tag.name in {"1.0.3", "1.1.0"})) for tag in importer.tags),
    )
    inventories = [
        repository("base/python", 30, first=7000, every=1),
        importer,
        repository("jobs/report", 40, first=4000, every=6),
        repository("platform/ingress", 25, first=5000, every=9),
        repository("platform/metrics", 20, first=6000, every=2),
        api,
        repository("shop/mail", 60, first=8000),
        web,
    ]
    production = [
        *deployed("shop/web", "1.8.7", "web", pods=6),
        use("shop/web", None, "Deployment", "web-canary", pinned=digest(1060)),
        *deployed("shop/api", "1.7.9", "api", pods=4),
        use("jobs/importer", "1.2.0", "CronJob", "nightly-import", running=False),
        use("jobs/importer", "1.4.4", "Pod", "importer-28771020-x8k2p"),
        *deployed("platform/ingress", "1.2.3", "ingress"),
        *deployed("platform/metrics", "1.1.9", "metrics"),
        *deployed("shop/mail", "1.5.5", "mail"),
        use("jobs/report", "1.3.0", "Pod", "report-1"),
        use("base/python", "1.2.9", "Pod", "debug", container="debugger"),
    ]
    staging = [
        *deployed("shop/web", "1.8.9", "web", cluster="staging"),
        *deployed("shop/web", "1.8.8", "web-preview", cluster="staging"),
        *deployed("shop/api", "1.2.0", "legacy-api", cluster="staging"),
    ]
    return inventories, [
        ClusterScan("production", tuple(production), access="direct", objects=1312),
        ClusterScan("staging", tuple(staging), access="run-command", objects=287),
    ]


def plan(
    inventories: Iterable[RepositoryInventory],
    scans: Iterable[ClusterScan],
    policy: RetentionPolicy | None = None,
) -> Plan:
    policy = policy or RetentionPolicy(older_than=timedelta(days=30), keep_last=5)
    usage = UsageIndex.of(scans, NOW)
    repositories = tuple(plan_repository(inventory, usage, policy, NOW) for inventory in inventories)
    return Plan(HOST, policy, NOW, usage, repositories)


@cache
def company_plan() -> Plan:
    return plan(*company())


def result(made: Plan, verdict: Verdict = Verdict.PLANNED, *, dry_run: bool = True, **more: object) -> Result:
    return Result(made, verdict, dry_run, NOW, NOW + timedelta(seconds=41), **more)  # type: ignore[arg-type]


def small() -> Plan:
    """
    Five tags: two are selected (their manifests are kept), one is in use, one is young, one is
    excluded.
    """
    inventory = repository("shop/web", 3, first=1, every=40, size=100 * MIB)
    extra = (Tag("latest", digest(1), NOW - timedelta(days=80)), Tag("old", digest(3), NOW - timedelta(days=50)))
    scan = ClusterScan("production", tuple(deployed("shop/web", "1.0.1", "web")), access="direct", objects=12)
    inventory = replace(inventory, tags=(*inventory.tags, *extra))
    return plan([inventory], [scan], RetentionPolicy())


def many_tags(number: int) -> Result:
    """A plan of one repository with this many old tags, each on its own manifest."""
    manifests = [
        Manifest(digest(index), size=MIB, media_type=DOCKER_IMAGE, created_at=NOW - timedelta(days=90))
        for index in range(number)
    ]
    tags = [Tag(f"1.{index:06}", digest(index), NOW - timedelta(days=90)) for index in range(number)]
    inventory = RepositoryInventory("shop/web", tuple(tags), {manifest.digest: manifest for manifest in manifests})
    return result(plan([inventory], [], RetentionPolicy(scope=Scope.ALL)))


def planned() -> Result:
    return result(company_plan())


def blocked(*, dry_run: bool = True) -> Result:
    """One cluster lacks rights, the other is stopped."""
    inventories, (production, _) = company()
    scans = [replace(production, blockers=(FORBIDDEN,)), ClusterScan("staging", blockers=(STOPPED,))]
    made = plan(inventories, scans)
    return result(made, Verdict.REFUSED, dry_run=dry_run, blockers=(FORBIDDEN, STOPPED))


def refused(*, dry_run: bool = False) -> Result:
    """The plan exceeds a limit."""
    made = company_plan()
    why = tuple(map(refusal_text, Limits(deletions=100).exceeded_by(made.tallies)))
    return result(made, Verdict.PLANNED if dry_run else Verdict.REFUSED, dry_run=dry_run, refusals=why)


def outcomes(made: Plan, changed: dict[str, tuple[OutcomeKind, str]] | None = None) -> tuple[Outcome, ...]:
    """Every step deleted, except those with a tag in `changed` (keys: `repository:tag`)."""
    changed = changed or {}
    results = []
    for repository_plan in made.repositories:
        name = repository_plan.repository
        for step in repository_plan.steps:
            strange = [changed[key] for tag in step.tags if (key := f"{name}:{tag.name}") in changed]
            for tag in step.tags:
                kind, detail = changed.get(f"{name}:{tag.name}", (OutcomeKind.DELETED, ""))
                results.append(Outcome(name, step.digest, tag.name, kind, detail))
            if isinstance(step, DeleteManifest):
                kind, detail = strange[0] if strange else (OutcomeKind.DELETED, "")
                results.append(Outcome(name, step.digest, None, kind, detail, step.manifest.size))
    return tuple(results)


def applied() -> Result:
    made = company_plan()
    return result(made, Verdict.APPLIED, dry_run=False, outcomes=outcomes(made))


def applied_but_moved() -> Result:
    """Three tags had changed before the second look."""
    made = company_plan()
    changed = {
        "shop/web:1.0.0": (OutcomeKind.MOVED, f"names {digest(99)} now"),
        "shop/web:1.0.1": (OutcomeKind.IN_USE_NOW, "a workload names this tag: production/shop/Deployment/web (app)"),
        "shop/api:1.0.0": (OutcomeKind.GONE, ""),
    }
    return result(made, Verdict.APPLIED, dry_run=False, outcomes=outcomes(made, changed))


def partial() -> Result:
    """Two tags failed, one moved, one repository could not be listed."""
    made = company_plan()
    unread = RepositoryPlan("shop/search", error="Listing its tags: 503 Service Unavailable, five times in a row.")
    made = replace(made, repositories=(*made.repositories, unread))
    forbidden = (OutcomeKind.FAILED, "403 Forbidden: DELETE needs the role AcrDelete on the registry.")
    changed = {
        "shop/web:1.0.0": forbidden,
        "shop/web:1.0.2": forbidden,
        "jobs/report:1.0.0": (OutcomeKind.MOVED, "was pushed again"),
    }
    return result(made, Verdict.PARTIAL, dry_run=False, outcomes=outcomes(made, changed))


def cancelled() -> Result:
    """Stopped after the first repositories."""
    made = company_plan()
    stopped = (OutcomeKind.NOT_ATTEMPTED, "the run was stopped")
    changed = {
        f"{plan.repository}:{decision.tag.name}": stopped
        for plan in made.repositories
        if plan.repository.startswith("shop/")
        for decision in plan.deletions
    }
    return result(made, Verdict.CANCELLED, dry_run=False, outcomes=outcomes(made, changed))


def nothing_to_do() -> Result:
    inventories, scans = company()
    policy = RetentionPolicy(older_than=timedelta(days=3650))
    return result(plan(inventories, scans, policy))


def nothing_in_scope() -> Result:
    return result(
        plan([], [ClusterScan("production", access="direct", objects=12)], RetentionPolicy(scope=Scope.RUNNING))
    )


def no_login() -> Result:
    """The login failed, so nothing was read."""
    login = Blocker(
        "https://login.microsoftonline.com",
        "",
        "Entra ID refused the federated login: its subject is not known (AADSTS700213).\n"
        "It was repo:contoso/app:ref:refs/heads/main.",
        "Add a federated credential:\n`az ad app federated-credential create --id 0 --parameters credential.json`",
    )
    nothing = Plan(HOST, RetentionPolicy(), NOW, UsageIndex.of((), NOW))
    return result(nothing, Verdict.REFUSED, dry_run=False, blockers=(login,))


def proven() -> Result:
    """Everything deleted and verified; two references were missing before."""
    made = company_plan()
    lost = use("shop/web", "9.9.9", "Deployment", "preview")
    pinned = use("shop/web", None, "CronJob", "nightly", pinned=digest(77))
    missing = (Missing("shop/web", "9.9.9", (lost,)), Missing("shop/web", digest(77), (pinned,)))
    repositories = tuple(
        replace(plan, missing=missing) if plan.repository == "shop/web" else plan for plan in made.repositories
    )
    made = replace(made, repositories=repositories)
    note = f"shop/mail:1.5.0 names {digest(5)} now; it was pushed again during the run."
    return result(
        made,
        Verdict.APPLIED,
        dry_run=False,
        outcomes=outcomes(made),
        proof=Proof(repositories=8, references=13, notes=(note,)),
    )


def broken() -> Result:
    """A tag in use is gone, and a child of a kept index."""
    made = company_plan()
    lost = Broken("shop/web", "1.8.7", "can no longer be pulled", tuple(deployed("shop/web", "1.8.7", "web")))
    child = Broken("shop/api", digest(66), "is gone, but the kept tag shop/api:1.7.9 lists it", ours=True)
    proof = Proof(repositories=8, references=13, broken=(child, lost))
    return result(made, Verdict.PARTIAL, dry_run=False, outcomes=outcomes(made), proof=proof)


def unproven() -> Result:
    """Everything deleted, then the registry did not answer."""
    made = company_plan()
    proof = Proof(repositories=7, references=12, unproven=("shop/web: listing its tags: no answer within 30 seconds.",))
    return result(made, Verdict.PARTIAL, dry_run=False, outcomes=outcomes(made), proof=proof)


def exact() -> Result:
    """The manifests to delete were measured."""
    made = company_plan()
    repositories = tuple(
        replace(
            plan,
            space=Space({manifest.digest: Content(500, {}) for manifest in plan.manifests}, read=len(plan.decisions)),
        )
        for plan in made.repositories
    )
    return result(replace(made, repositories=repositories))


def untagged_plan(*, tags_go: bool = False) -> Plan:
    """A repository with untagged manifests: two old ones, a young one and a locked one."""
    web, mail = repository("shop/web", 3, first=1, every=5), repository("shop/mail", 2, first=50, every=100)
    old, young = NOW - timedelta(days=90), NOW - timedelta(days=3)
    bare = [
        Manifest(digest(100), OCI_IMAGE, size=20 * MIB, updated_at=old, platform="linux/amd64", known=True),
        Manifest(digest(101), OCI_IMAGE, size=30 * MIB, updated_at=old, platform="linux/arm64", known=True),
        Manifest(digest(102), OCI_IMAGE, size=MIB, updated_at=young, platform="linux/amd64", known=True),
        Manifest(digest(103), OCI_IMAGE, size=MIB, updated_at=old, platform="linux/amd64", known=True, locked=True),
    ]
    web = replace(web, manifests={**web.manifests, **{manifest.digest: manifest for manifest in bare}})
    scan = ClusterScan(
        "production",
        (*deployed("shop/web", "1.0.1", "web"), *deployed("shop/mail", "1.0.1", "mail")),
        access="direct",
        objects=12,
    )
    return plan([web, mail] if tags_go else [web], [scan], RetentionPolicy(delete_untagged=True))


def untagged_applied() -> Result:
    """One of two untagged manifests failed."""
    made = untagged_plan()
    results = list(outcomes(made))
    results[0] = replace(results[0], kind=OutcomeKind.FAILED, detail="403 Forbidden: DELETE needs the role AcrDelete.")
    return result(made, Verdict.PARTIAL, dry_run=False, outcomes=tuple(results))


ALL: dict[str, Callable[[], Result]] = {
    "planned": planned,
    "blocked": blocked,
    "blocked_apply": lambda: blocked(dry_run=False),
    "refused": refused,
    "refused_plan": lambda: refused(dry_run=True),
    "applied": applied,
    "applied_but_moved": applied_but_moved,
    "partial": partial,
    "cancelled": cancelled,
    "nothing_to_do": nothing_to_do,
    "nothing_in_scope": nothing_in_scope,
    "no_login": no_login,
    "proven": proven,
    "broken": broken,
    "unproven": unproven,
    "exact": exact,
    "untagged": lambda: result(untagged_plan()),
    "untagged_and_tags": lambda: result(untagged_plan(tags_go=True)),
    "untagged_partial": untagged_applied,
    "small": lambda: result(small()),
    "small_applied": lambda: result(small(), Verdict.APPLIED, dry_run=False, outcomes=outcomes(small())),
}
