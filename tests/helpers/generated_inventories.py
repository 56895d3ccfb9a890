"""
Repositories for tests of the core: builders with useful defaults, and readable forms of a plan.

tests/helpers/drawn_inventories.py draws whole repositories for property tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from msgspec import structs

from acr_cleanup.core.inventory import LockState, Manifest, RepositoryInventory, Tag
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Evidence, Rule, keep_reasons
from acr_cleanup.core.references import Digest, ImageReference
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.steps import Untag
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse, UsageIndex
from acr_cleanup.core.workload import Workload

NOW = datetime(2026, 11, 23, tzinfo=UTC)
REPOSITORY = "shop/web"
HOST = "contoso.azurecr.io"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
UNTAGGED = RetentionPolicy(delete_untagged=True)
NOTHING_EXCLUDED = RetentionPolicy(exclude_tags=())


def d(name: str | int) -> Digest:
    """A digest that is readable in a failing test: `d("a")` is sha256:000…061."""
    text = name if isinstance(name, str) else f"{name:x}"
    return Digest("sha256:" + text.encode().hex().rjust(64, "0"))


def tag(name: str, digest: str | int, *, days: float | None = 100, locked: bool = False) -> Tag:
    """A tag pushed `days` ago (None: the registry does not say)."""
    updated_at = None if days is None else NOW - timedelta(days=days)
    return Tag(name, d(digest), updated_at, LockState(locked, delete_enabled=not locked))


def image(digest: str | int, *, days: float | None = 100, locked: bool = False, size: int = 1000) -> Manifest:
    return Manifest(
        d(digest),
        DOCKER_IMAGE,
        size=size,
        updated_at=None if days is None else NOW - timedelta(days=days),
        locked=locked,
        delete_enabled=not locked,
        known=True,
    )


def index(
    digest: str | int,
    children: Iterable[str | int],
    *,
    locked: bool = False,
    known: bool = True,
    subject: str | int | None = None,
    media_type: str = OCI_INDEX,
) -> Manifest:
    return Manifest(
        d(digest),
        media_type,
        size=10,
        updated_at=NOW - timedelta(days=100),
        locked=locked,
        delete_enabled=not locked,
        children=tuple(d(child) for child in children) if known else (),
        subject=None if subject is None else d(subject),
        known=known,
    )


def referrer(digest: str | int, subject: str | int, *, locked: bool = False) -> Manifest:
    return structs.replace(image(digest, locked=locked), media_type=OCI_IMAGE, size=0, subject=d(subject))


def signature_of(digest: str | int, suffix: str = ".sig") -> str:
    """
    The name of the tag that belongs to this digest; without a suffix, that of its referrers list.
    """
    return f"sha256-{d(digest)[7:]}{suffix}"


def inventory(tags: Iterable[Tag], manifests: Iterable[Manifest] | None = None) -> RepositoryInventory:
    """A repository. Without `manifests`, each digest that a tag names is a plain image."""
    tags = tuple(tags)
    if manifests is None:
        manifests = {tag.digest: Manifest(tag.digest, DOCKER_IMAGE, size=1000, known=True) for tag in tags}.values()
    return RepositoryInventory(REPOSITORY, tags, {manifest.digest: manifest for manifest in manifests})


def use(
    tag: str | None = None, digest: str | int | None = None, *, running: bool = True, name: str = "web"
) -> ImageUse:
    reference = ImageReference(HOST, REPOSITORY, tag, None if digest is None else d(digest))
    workload = Workload("production", "shop", "Deployment", name)
    return ImageUse(workload, "main", "spec.template.spec.containers[0].image", str(reference), reference, running)


def usage(*uses: ImageUse, blockers: tuple[Blocker, ...] = (), runs: bool = True) -> UsageIndex:
    """
    Uses in one cluster. With `runs`, an unrelated use makes the repository run, so that it is in
    scope.
    """
    if runs:
        uses = (*uses, use("something-else", running=True, name="unrelated"))
    return UsageIndex.of([ClusterScan("production", uses, blockers)], NOW)


def plan(
    repository: RepositoryInventory, used: UsageIndex | None = None, policy: RetentionPolicy | None = None
) -> RepositoryPlan:
    """The plan of the repository: by default unused, with the default policy."""
    return plan_repository(repository, used or usage(), policy or RetentionPolicy(), NOW)


def deleted_names(repository_plan: RepositoryPlan) -> set[str]:
    return {decision.tag.name for decision in repository_plan.deletions}


def verbs(repository_plan: RepositoryPlan) -> list[str]:
    """The steps as readable words: `untag 1.0`, `delete a[1.0,1.1]`."""
    words = []
    for step in repository_plan.steps:
        if isinstance(step, Untag):
            words.append(f"untag {step.tag.name}")
        else:
            names = ",".join(tag.name for tag in step.tags)
            words.append(f"delete {bytes.fromhex(step.digest[7:].lstrip('0')).decode()}[{names}]")
    return words


def rules_of(repository_plan: RepositoryPlan, name: str) -> list[Rule]:
    """The rules that keep this tag."""
    return [
        reason.rule
        for decision in repository_plan.decisions
        if decision.tag.name == name
        for reason in decision.reasons
    ]


def untagged_rules(repository_plan: RepositoryPlan) -> dict[Digest, list[str]]:
    """Untagged manifest -> the rules that keep it; empty if it is deleted."""
    return {
        decision.manifest.digest: [str(reason.rule) for reason in decision.reasons]
        for decision in repository_plan.untagged
    }


def reasons(
    repository: RepositoryInventory, *uses: ImageUse, policy: RetentionPolicy = NOTHING_EXCLUDED, runs: bool = True
) -> dict[str, list[tuple[Rule, str]]]:
    """
    Kept tag -> the rule and the detail of each reason. By default, `latest` is a tag like any
    other.
    """
    kept = keep_reasons(Evidence(repository, usage(*uses, runs=runs), policy, NOW))
    return {name: [(reason.rule, reason.detail) for reason in of_tag] for name, of_tag in sorted(kept.items())}
