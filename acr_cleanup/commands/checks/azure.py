"""Asks Azure, the registry and the clusters for the rights that a run needs."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from acr_cleanup.access import roles
from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Requests, status_of
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.credentials import SingleFlightCredential
from acr_cleanup.access.find_registry import find_registry
from acr_cleanup.access.jwt import claims_of
from acr_cleanup.access.login_errors import claims_of_login
from acr_cleanup.access.permissions import may
from acr_cleanup.access.read_failure import Unreachable
from acr_cleanup.access.resource_manager import open_manager
from acr_cleanup.access.roles import Command, Right, Role
from acr_cleanup.access.trust import shown_claims
from acr_cleanup.clusters.ignored_kinds import ignored_kinds
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.clusters.survey import survey_clusters
from acr_cleanup.clusters.target import Access, ClusterAccess, ClusterSurvey, ClusterTarget, Search
from acr_cleanup.clusters.targets import AksCluster
from acr_cleanup.clusters.unlisted import searched_subscriptions
from acr_cleanup.commands.connections import configured_clusters, open_registry, token_scopes
from acr_cleanup.commands.rights.required import registry_rights
from acr_cleanup.commands.rights.shell import assignment
from acr_cleanup.core.usage import SERVICES, Blocker, ClusterScan, Outside
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import quoted
from acr_cleanup.reports import words
from acr_cleanup.reports.check import Check, Mark
from acr_cleanup.settings import Settings
from acr_cleanup.stages.connect import log_in
from acr_cleanup.stages.read import ConfiguredClusters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_KINDS_SHOWN = 8


@dataclass
class AzureChecks:
    """
    One question per method. Each returns its lines, and raises what its reader raises.

    claims: of the token for Azure Resource Manager, not verified; they name the identity.
    """

    settings: Settings
    azure: Azure
    claims: dict[str, Any] = field(default_factory=dict)

    # -- the login ---------------------------------------------------------------------------------

    async def login(self) -> list[Check]:
        """Ask for every token that a run needs, and show the subject and the audience of the login."""
        lines: list[Check] = []
        for scope, name in token_scopes(self.settings).items():
            try:
                await log_in(self.azure, {scope: name})
                lines.append(Check("Login", Mark.OK, f"Token for {name}."))
            except IdentityError as error:
                where = f"{error.where}: " if error.where else ""
                lines.append(Check("Login", Mark.FAILED, f"{where}{error.seen}", error.remedy))
        if any(line.mark is Mark.OK for line in lines):
            lines.insert(0, Check("Login", Mark.OK, await self._identity()))
        return lines

    async def _identity(self) -> str:
        scope = next(iter(token_scopes(self.settings)))
        try:
            token = await self.azure.credential.get_token(scope)
            self.claims = dict(claims_of(token.token))
        except IdentityError:
            self.claims = {}
        login = self.azure.credential.login if isinstance(self.azure.credential, SingleFlightCredential) else None
        name = login.name if login is not None else "the login"
        text = f"Logged in as {name}" + (f" with the object id {quoted(self._object_id)}." if self._object_id else ".")
        shown = shown_claims(claims_of_login(login)) if login is not None else ""
        return f"{text} Its federated token has {shown}." if shown else text

    @property
    def _object_id(self) -> str:
        return str(self.claims.get("oid") or "")

    # -- the registry ------------------------------------------------------------------------------

    async def registry(self) -> list[Check]:
        """Ask the registry for a token, and for its catalog."""
        settings = self.settings
        async with open_registry(self.azure, settings) as registry:
            names = await registry.catalog()
        host, repositories = settings.registry.login_server, words.count(len(names), "repository")
        return [Check("Registry", Mark.OK, f"{host} accepts the login and lists {repositories}.")]

    async def registry_rights(self) -> list[Check]:
        """Ask Azure which of the rights of `apply` the identity has on the registry. Nothing is deleted to find out."""
        return [line async for line in self._registry_rights()]

    async def _registry_rights(self) -> AsyncIterator[Check]:
        part, settings = "Rights on the registry", self.settings
        subscriptions = await self._subscriptions()
        known = settings.registry_place.resource_id
        async with self._requests() as requests_of:
            registry = await find_registry(requests_of, settings.registry_place, subscriptions)
            resource_id = registry.id if registry is not None else known
            if resource_id:
                permissions = await requests_of(resource_id.split("/")[2]).permissions(resource_id)
        if registry is None:
            yield self._hidden_registry(part, known)
        else:
            yield Check(part, Mark.OK, f"Azure shows it as {registry.id}.")
        if resource_id:
            mode = str(first(registry.body, "properties.roleAssignmentMode")).lower() if registry is not None else ""
            abac = mode == "abacrepositorypermissions" if mode else None
            for line in self._rights(part, resource_id, permissions, abac=abac):
                yield line

    def _hidden_registry(self, part: str, known: str) -> Check:
        host, name = self.settings.registry.login_server, self.settings.registry.name
        if known:
            seen = f"Azure shows no registry {host} in that resource group to this identity."
            remedy = "Correct subscription_id and resource_group of `container_registry`, or assign the role Reader (see below)."
            return Check(part, Mark.FAILED, seen, remedy)
        seen = f"Azure shows no registry {host} to this identity, so its rights were not asked."
        remedy = "Set subscription_id and resource_group of `container_registry`. This shows them:"
        return Check(part, Mark.UNKNOWN, seen, f"{remedy}\n`az acr show --name {name} --query id --output tsv`")

    def _rights(
        self, part: str, resource_id: str, permissions: Sequence[dict[str, Any]], *, abac: bool | None
    ) -> Iterator[Check]:
        """abac: None if the mode of the registry is not known."""
        for right in registry_rights(self.settings, resource_id, Command.APPLY):
            if right is roles.PULL_LOG:
                continue  # it may be granted on the workspace instead, so the log itself is asked
            missing = _missing(right, permissions, abac=bool(abac))
            if not missing:
                yield Check(part, Mark.OK, right.purpose)
                continue
            if abac is None and not _missing(right, permissions, abac=True):
                seen = f"{right.purpose.split('.')[0]}: only allowed if the registry uses ABAC, which was not shown."
                yield Check(part, Mark.UNKNOWN, seen, f"The role {roles.READER} on the registry shows it.")
                continue
            seen = _not_allowed(right, missing)
            yield Check(part, Mark.FAILED, seen, self._grant(right.abac if abac else right.role, resource_id))

    # -- clusters ----------------------------------------------------------------------------------

    async def cluster(self, target: ClusterTarget) -> list[Check]:
        """Ask one cluster for the right to list each kind that is read. Lists nothing."""
        part = f"Cluster {target.key}"
        search = Search(
            Names.of(self.settings.registry, ()), self.settings.helm_history, ignored_kinds(self.settings.ignore_kinds)
        )
        if target.is_recorded:
            async with open_manager(self.azure) as manager:
                from acr_cleanup.clusters.api_server.client import Patience  # noqa: PLC0415
                from acr_cleanup.clusters.api_server.kubeconfig import ConnectionOptions  # noqa: PLC0415

                access = ClusterAccess(ConnectionOptions.of(self.azure), manager, Patience())
                scan = await target.read(access, search)
            text = (
                f"{target.describe()}: {words.count(scan.objects, 'object')}, read {scan.read_at:%Y-%m-%d %H:%M} UTC."
            )
            return [*_failed(part, scan.blockers), Check(part, Mark.OK, text)]
        (survey,) = await survey_clusters([target], self.azure, reviewed=search)
        if isinstance(target, AksCluster) and _read_by_command(target, survey):
            return [*await self._run_commands(part, target, survey)]
        if isinstance(target, AksCluster) and survey.problem is not None and status_of(survey.problem) == 403:
            refused = await self._refused_cluster(part, target)
            if refused:
                return refused
        failures = [*([survey.problem] if survey.problem is not None else []), *survey.unlisted]
        scan = ClusterScan(target.key, blockers=tuple(failure.blocker(target.key) for failure in failures))
        scan = scan.waive([waiver.kind for waiver in self.settings.waive if waiver.cluster == target.key])
        lines = [*self._cluster_blockers(part, scan, survey)]
        if not lines:
            kinds = len(KINDS) + len([kind for kind in survey.kinds or () if not search.ignores(kind)])
            waived = f" Waived: {', '.join(blocker.kind for blocker in scan.waived)}." if scan.waived else ""
            text = f"{target.describe()}: all {words.count(kinds, 'kind')} may be listed.{waived}"
            lines = [Check(part, Mark.OK, text)]
        return lines

    def _cluster_blockers(self, part: str, scan: ClusterScan, survey: ClusterSurvey) -> Iterator[Check]:
        """Name all kinds that may not be listed in one line: one script grants the right to list them."""
        unlisted = {failure.blocker(scan.cluster): failure for failure in survey.unlisted}
        yield from _failed(part, [blocker for blocker in scan.blockers if blocker not in unlisted])
        kinds = [blocker.kind for blocker in scan.blockers if blocker in unlisted]
        if not kinds:
            return
        more = f" and {len(kinds) - _KINDS_SHOWN:,} more kinds" if len(kinds) > _KINDS_SHOWN else ""
        seen = f"This identity may not list {', '.join(kinds[:_KINDS_SHOWN])}{more} in all namespaces."
        reviews = [failure for failure in survey.unlisted if not failure.call.startswith("list ")]
        if reviews:
            yield Check(part, Mark.FAILED, f"{reviews[0].call}: {reviews[0].seen}", reviews[0].remedy)
        else:
            yield Check(part, Mark.FAILED, seen, f"Grant it with the script of all rights:\n{self._script}")

    async def _refused_cluster(self, part: str, target: AksCluster) -> list[Check]:
        """Return which rights on the cluster are missing in Azure."""
        async with self._requests() as requests_of:
            permissions = await requests_of(target.subscription_id).permissions(target.resource_id)
        rights = [roles.FIND_CLUSTER, *([roles.USER_CREDENTIALS] if target.access is not Access.RUN_COMMAND else [])]
        return [
            Check(
                part,
                Mark.FAILED,
                f"{target.describe()}: {_not_allowed(right, missing)}",
                self._grant(right.role, target.resource_id),
            )
            for right in rights
            if (missing := _missing(right, permissions, abac=False))
        ]

    async def _run_commands(self, part: str, target: AksCluster, survey: ClusterSurvey) -> list[Check]:
        if not survey.runs_commands:
            remedy = "Enable them, or use `access: direct` from a runner inside the cluster's network."
            return [Check(part, Mark.FAILED, "Run commands are disabled on this cluster.", remedy)]
        async with self._requests() as requests_of:
            permissions = await requests_of(target.subscription_id).permissions(target.resource_id)
        missing = _missing(roles.RUN_COMMANDS_IN, permissions, abac=False)
        if missing:
            seen = f"{target.describe()}: {_not_allowed(roles.RUN_COMMANDS_IN, missing)}"
            return [Check(part, Mark.FAILED, seen, self._grant(roles.RUN_COMMANDS, target.resource_id))]
        unknown = "Its API server is only reached by run commands, so the right to list objects was not asked."
        return [
            Check(part, Mark.OK, f"{target.describe()}: run commands are allowed."),
            Check(part, Mark.UNKNOWN, unknown, "`acr-cleanup plan` runs one, and names each missing right."),
        ]

    async def unlisted_clusters(self) -> list[Check]:
        """Search for clusters that the configuration does not list."""
        part, outside = "Other clusters", await self._sources.find_unlisted()
        return [*_outside(part, outside)] or [
            Check(part, Mark.OK, "No AKS cluster outside of the configuration is visible.")
        ]

    # -- services and logs -------------------------------------------------------------------------

    async def services(self) -> list[Check]:
        """Read the other services of Azure as a run does, and say what was found where."""
        if not self.settings.services:
            return []
        part = "Services of Azure"
        scans, outside = await self._sources.read_services((), planned=True)
        lines: list[Check] = []
        for scan in scans:
            kinds = sorted({use.workload.kind for use in scan.uses})
            using = f"; {words.listing(kinds)} use this registry" if kinds else ""
            where = scan.cluster.removeprefix(f"{SERVICES}:")
            lines.append(Check(part, Mark.OK, f"Subscription {where}: {words.count(scan.objects, 'resource')}{using}."))
            lines += _failed(part, scan.blockers)
        for line in _outside(part, outside):
            unseen = next((name for name in await self._subscriptions() if f"/subscriptions/{name}" in line.text), "")
            lines.append(
                replace(line, remedy=self._grant(roles.READER, f"/subscriptions/{unseen}")) if unseen else line
            )
        return lines or [Check(part, Mark.OK, "No service that can use images was found.")]

    async def pull_log(self, now: datetime) -> list[Check]:
        """Query the log of pulls, if it is used, and say how far it reaches back."""
        if not self.settings.pulled_within:
            return []
        pulls, outside = await self._sources.read_pulls(now)
        since = f"since {pulls.reaches_back_to:%Y-%m-%d}" if pulls.reaches_back_to else "completely"
        return [*_outside("Pull log", outside)] or [Check("Pull log", Mark.OK, f"The log can be read {since}.")]

    # -- shared ------------------------------------------------------------------------------------

    async def _subscriptions(self) -> tuple[str, ...]:
        """Return the subscriptions in which a run looks for clusters."""
        return await asyncio.to_thread(searched_subscriptions, self.settings.clusters, self.settings.subscriptions)

    @property
    def _sources(self) -> ConfiguredClusters:
        return configured_clusters(self.azure, self.settings)

    @asynccontextmanager
    async def _requests(self) -> AsyncIterator[Callable[[str], Requests]]:
        gate = asyncio.Semaphore(self.settings.concurrency)
        async with open_manager(self.azure) as manager:
            yield lambda subscription: Requests(manager, subscription.lower(), gate)

    @property
    def _script(self) -> str:
        """The command that grants all rights that these settings need."""
        config = f" {shlex.quote(str(self.settings.config_file))}" if self.settings.config_file else ""
        identity = shlex.quote(self._object_id) if self._object_id else "OBJECT_ID"
        return f"`acr-cleanup permissions{config} > rights.sh && sh rights.sh --identity {identity}`"

    def _grant(self, role: Role, scope: str) -> str:
        if role.is_custom:
            return f"No built-in role has only this right. Create and assign one with the script of all rights:\n{self._script}"
        identity = shlex.quote(self._object_id) if self._object_id else "OBJECT_ID"
        kind = "User" if self.claims.get("idtyp") == "user" or "upn" in self.claims else "ServicePrincipal"
        return f"Assign the role {role}:\n`{' '.join(assignment(role.name, shlex.quote(scope), identity, kind))}`"


def _read_by_command(target: AksCluster, survey: ClusterSurvey) -> bool:
    """Would a run read it by a run command? Not if Azure does not describe the cluster."""
    if survey.entra is None:
        return False
    if target.access is Access.RUN_COMMAND:
        return True
    return target.access is Access.AUTO and survey.private and isinstance(survey.problem, Unreachable)


def _not_allowed(right: Right, missing: Sequence[str]) -> str:
    return f"{right.purpose.split('.')[0]}: not allowed ({words.listing(missing)} {words.plural(len(missing), 'is')} missing)."


def _missing(right: Right, permissions: Sequence[dict[str, Any]], *, abac: bool) -> list[str]:
    actions = (right.abac_actions if abac else right.actions) or right.actions
    return [action for action in actions if not may(permissions, action, data=action.startswith(roles.DATA_ACTIONS))]


def _failed(part: str, blockers: Iterable[Blocker]) -> Iterator[Check]:
    for blocker in blockers:
        yield Check(part, Mark.FAILED, f"{blocker.where}: {blocker.call}: {blocker.seen}", blocker.remedy)


def _outside(part: str, outside: Outside) -> Iterator[Check]:
    yield from _failed(part, outside.blockers)
    for warning in outside.warnings:
        yield Check(part, Mark.UNKNOWN, warning)
