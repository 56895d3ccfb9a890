"""
Azure RBAC: role definitions, role assignments on scopes, and whether they allow a request.

Every service asks `AccessControl.allows` before it answers, so that a world grants what a *role*
grants. Sources: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles and
https://learn.microsoft.com/azure/container-registry/container-registry-rbac-built-in-roles-directory-reference
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

REGISTRIES = "Microsoft.ContainerRegistry/registries"
CLUSTERS = "Microsoft.ContainerService/managedClusters"
WORKSPACES = "Microsoft.OperationalInsights/workspaces"
LOG_TABLES = "Microsoft.Insights/logs"
EVERYWHERE = "/"


@dataclass(frozen=True, slots=True)
class RoleDefinition:
    """One role. `*` in an action matches any text. `id` is the GUID of a built-in role."""

    name: str
    id: str = ""
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()

    def grants(self, action: str, *, data: bool = False) -> bool:
        """Whether the role grants an action. `data`: whether it is a data action."""
        granted, excluded = (self.data_actions, self.not_data_actions) if data else (self.actions, self.not_actions)
        return _matches(granted, action) and not _matches(excluded, action)


BUILT_IN = {
    role.name: role
    for role in (
        RoleDefinition("Owner", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", ("*",)),
        RoleDefinition(
            "Contributor",
            "b24988ac-6180-42a0-ab88-20f7382dd24c",
            ("*",),
            ("Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write"),
        ),
        # `*/read` includes `registries/pull/read`: Reader can pull, as documented.
        RoleDefinition("Reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7", ("*/read",)),
        RoleDefinition(
            "Log Analytics Reader",
            "73c42c96-874c-492b-b04d-ab87d138a893",
            ("*/read", f"{WORKSPACES}/analytics/query/action", f"{WORKSPACES}/search/action", "Microsoft.Support/*"),
            (f"{WORKSPACES}/sharedKeys/read",),
        ),
        RoleDefinition("AcrPull", "7f951dda-4ed3-4680-a7ca-43fe172d538d", (f"{REGISTRIES}/pull/read",)),
        RoleDefinition(
            "AcrPush",
            "8311e382-0749-4cb8-b61a-304f252e45ec",
            (f"{REGISTRIES}/pull/read", f"{REGISTRIES}/push/write"),
        ),
        RoleDefinition("AcrDelete", "c2f4ef07-c644-48eb-af81-4b1b4947fb11", (f"{REGISTRIES}/artifacts/delete",)),
        RoleDefinition(
            "Container Registry Repository Reader",
            "b93aa761-3e63-49ed-ac28-beffa264f7ac",
            data_actions=(
                f"{REGISTRIES}/repositories/metadata/read",
                f"{REGISTRIES}/repositories/content/read",
            ),
        ),
        RoleDefinition(
            "Container Registry Repository Writer",
            "2a1e307c-b015-4ebd-883e-5b7698a07328",
            data_actions=(
                f"{REGISTRIES}/repositories/metadata/read",
                f"{REGISTRIES}/repositories/content/read",
                f"{REGISTRIES}/repositories/metadata/write",
                f"{REGISTRIES}/repositories/content/write",
            ),
        ),
        RoleDefinition(
            "Container Registry Repository Contributor",
            "2efddaa5-3f1f-4df3-97df-af3f13818f4c",
            data_actions=(
                f"{REGISTRIES}/repositories/metadata/read",
                f"{REGISTRIES}/repositories/content/read",
                f"{REGISTRIES}/repositories/metadata/write",
                f"{REGISTRIES}/repositories/content/write",
                f"{REGISTRIES}/repositories/metadata/delete",
                f"{REGISTRIES}/repositories/content/delete",
            ),
        ),
        RoleDefinition(
            "Container Registry Repository Catalog Lister",
            "bfdb9389-c9a5-478a-bb2f-ba9ca092c3c7",
            data_actions=(f"{REGISTRIES}/catalog/read",),
        ),
        RoleDefinition(
            "Azure Kubernetes Service Cluster User Role",
            "4abbcc35-e782-43d8-92c5-2d3f1bd2253f",
            (f"{CLUSTERS}/listClusterUserCredential/action", f"{CLUSTERS}/read"),
        ),
        RoleDefinition(
            "Azure Kubernetes Service Cluster Admin Role",
            "0ab0b1a8-8aac-4efd-b8c2-3ee1fb270be8",
            (
                f"{CLUSTERS}/listClusterAdminCredential/action",
                f"{CLUSTERS}/accessProfiles/listCredential/action",
                f"{CLUSTERS}/read",
                f"{CLUSTERS}/runcommand/action",
            ),
        ),
    )
}

LOCKS = RoleDefinition("locks of images", actions=(f"{REGISTRIES}/metadata/read", f"{REGISTRIES}/metadata/write"))
SOFT_DELETE = RoleDefinition(
    "soft delete", actions=(f"{REGISTRIES}/deleted/read", f"{REGISTRIES}/deleted/restore/action")
)
RUN_COMMAND = RoleDefinition(
    "run commands",
    actions=(f"{CLUSTERS}/read", f"{CLUSTERS}/runcommand/action", f"{CLUSTERS}/commandResults/read"),
)
OBJECTS = RoleDefinition("objects in clusters", data_actions=(f"{CLUSTERS}/*/read",))

DEFAULT_ROLES: tuple[RoleDefinition, ...] = (
    *(
        BUILT_IN[name]
        for name in (
            "Reader",
            "AcrPull",
            "AcrPush",
            "AcrDelete",
            "Container Registry Repository Contributor",
            "Container Registry Repository Catalog Lister",
            "Azure Kubernetes Service Cluster User Role",
        )
    ),
    LOCKS,
    SOFT_DELETE,
    RUN_COMMAND,
    OBJECTS,
)
"""
The roles of every identity in a world that does not care about rights: those of all commands and
options together, and none of an administrator.
"""


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """
    A role that an identity has on a scope and on everything below it.

    `scope`: a resource id, `/subscriptions/ID`, or `EVERYWHERE`.
    `identity`: a client id; None assigns the role to every identity of the tenant.
    `condition`: an ABAC condition on the name of a repository.
    """

    role: RoleDefinition
    scope: str = EVERYWHERE
    identity: str | None = None
    condition: str = ""

    def __post_init__(self) -> None:
        if self.condition:
            _parse_condition(self.condition)

    def applies(self, identity: str, scope: str) -> bool:
        """Whether it is an assignment of this identity that covers the scope."""
        return self.identity in {None, identity} and _encloses(self.scope, scope)

    def grants(self, action: str, repository: str, *, data: bool) -> bool:
        """Whether it grants an action, and its condition allows the repository."""
        if not self.role.grants(action, data=data):
            return False
        return not self.condition or _parse_condition(self.condition).allows(action, repository)


@dataclass(slots=True)
class AccessControl:
    """All role assignments of a world. A change acts at once; in Azure it takes ten minutes."""

    assignments: list[RoleAssignment] = field(default_factory=lambda: [RoleAssignment(role) for role in DEFAULT_ROLES])
    _withheld: list[tuple[str, str]] = field(default_factory=list)

    def assign_only(self, *roles: str | RoleDefinition | RoleAssignment) -> None:
        """Replace all assignments. A role alone, or its name, is assigned everywhere."""
        self.assignments = []
        self._withheld.clear()
        for role in roles:
            self.assign(role)

    def assign(
        self,
        role: str | RoleDefinition | RoleAssignment,
        scope: str = EVERYWHERE,
        *,
        identity: str | None = None,
        condition: str = "",
    ) -> None:
        """Add one assignment. `role` may be the name of a built-in role."""
        if isinstance(role, str):
            role = BUILT_IN[role]
        if isinstance(role, RoleDefinition):
            role = RoleAssignment(role, scope, identity, condition)
        self.assignments.append(role)

    def withhold(self, action: str, scope: str) -> None:
        """
        Remove an action on one resource from all roles, as if they listed it in NotActions.
        """
        self._withheld.append((action, scope))

    def allows(self, identity: str, action: str, scope: str, *, data: bool = False, repository: str = "") -> bool:
        """
        Whether an identity may do this.

        `scope`: the id of the resource. `data`: whether it is a data action.
        `repository`: the name that conditions of assignments compare.
        """
        if any(_same(action, withheld) and _encloses(place, scope) for withheld, place in self._withheld):
            return False
        return any(
            assignment.applies(identity, scope) and assignment.grants(action, repository, data=data)
            for assignment in self.assignments
        )

    def has_any(self, identity: str, scope: str, prefix: str) -> bool:
        """Whether an identity has any role on the resource with an action that starts so."""
        return any(
            assignment.applies(identity, scope)
            and any(
                action == "*" or action.startswith(("*/", prefix))
                for action in (*assignment.role.actions, *assignment.role.data_actions)
            )
            for assignment in self.assignments
        )

    def roles_on(self, identity: str, scope: str) -> Iterator[RoleDefinition]:
        """Yield the roles of an identity on a scope, without actions that are withheld below it."""
        withheld = tuple(action for action, place in self._withheld if _encloses(scope, place))
        for assignment in self.assignments:
            if assignment.applies(identity, scope):
                yield replace(assignment.role, not_actions=(*assignment.role.not_actions, *withheld))


@dataclass(frozen=True, slots=True)
class _Condition:
    """`(!(ActionMatches{A}) AND ...) OR (@Request[...:name] OPERATOR 'TEXT' OR ...)`."""

    actions: frozenset[str]
    tests: tuple[tuple[str, bool, str], ...]

    def allows(self, action: str, repository: str) -> bool:
        """An action that the condition does not name is not restricted, as in Azure."""
        if action.lower() not in self.actions:
            return True
        return any(_passes(repository, test) for test in self.tests)


_ACTION = re.compile(r"!\s*\(\s*ActionMatches\s*\{\s*'([^']+)'\s*\}\s*\)")
_TEST = re.compile(
    r"@Request\[Microsoft\.ContainerRegistry/registries/repositories:name\]\s+"
    r"String(Equals|StartsWith)(IgnoreCase)?\s+'([^']*)'"
)
_GLUE = re.compile(r"[\s()]|\bAND\b|\bOR\b")


@lru_cache(maxsize=64)
def _parse_condition(text: str) -> _Condition:
    """Parse the conditions that Microsoft documents for repositories; ValueError for any other."""
    rest = _GLUE.sub("", _TEST.sub("", _ACTION.sub("", text)))
    tests = tuple((match[1], match[2] is not None, match[3]) for match in _TEST.finditer(text))
    if rest or not tests:
        raise ValueError(f"the emulator does not know this condition: {rest or text!r}")
    return _Condition(frozenset(action.lower() for action in _ACTION.findall(text)), tests)


def _passes(repository: str, test: tuple[str, bool, str]) -> bool:
    operator, ignore_case, text = test
    if ignore_case:
        repository, text = repository.lower(), text.lower()
    return repository == text if operator == "Equals" else repository.startswith(text)


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(_pattern(pattern).fullmatch(action) is not None for pattern in patterns)


@lru_cache(maxsize=512)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.IGNORECASE)


def _encloses(outer: str, inner: str) -> bool:
    """Whether `inner` is the scope `outer` or below it. Names match in any case."""
    outer, inner = outer.lower().rstrip("/"), inner.lower().rstrip("/")
    return inner == outer or inner.startswith(f"{outer}/")


def _same(action: str, other: str) -> bool:
    return action.lower() == other.lower()
