"""The settings of a run, after flags, file and environment are merged and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from acr_cleanup.access.clouds import Cloud
from acr_cleanup.access.federation import LoginChoice
from acr_cleanup.clusters.target import ClusterTarget, Waiver
from acr_cleanup.core.limits import Limits
from acr_cleanup.core.policy import RetentionPolicy
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.settings.inputs import FailOn, LogLevel


@dataclass(frozen=True, slots=True)
class Settings:
    """
    Everything that a run needs to know.

    report_dir: relative to the working directory.
    dry_run, summary: from the inputs of a pipeline only. On the command line the verb decides
        about the dry run, and there is no page to show a summary on.
    """

    registry: RegistryHost
    clusters: tuple[ClusterTarget, ...]
    policy: RetentionPolicy
    limits: Limits
    cloud: Cloud
    concurrency: int = 8
    report_dir: Path = Path("acr-cleanup")
    log_level: LogLevel = "info"
    registry_subscription_id: str | None = None
    registry_resource_group: str | None = None
    login: LoginChoice = field(default_factory=LoginChoice)
    fail_on: frozenset[FailOn] = frozenset({FailOn.DELETE_ERRORS})
    dry_run: bool = True
    summary: bool = True
    helm_history: int = 0
    waive: tuple[Waiver, ...] = ()
    subscriptions: tuple[str, ...] = ()
    """
    Where to search for AKS clusters that are not configured.

    Empty: where the configured ones are.
    """
    require_all_clusters: bool = False
    apply_plan: Path | None = None
    """A reviewed plan. Only what it lists may be deleted."""
    plan_max_age: timedelta = timedelta(days=7)
    verify: bool = True
    backup: bool = False
    exact_sizes: bool = False
