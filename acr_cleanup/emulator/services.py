"""
Other services of Azure behind the resource manager: their lists, single resources, and Resource Graph.

The shapes are those of the vendor's management SDKs: azure-mgmt-appcontainers 5.1.0,
azure-mgmt-web 11.0.1, azure-mgmt-containerinstance 10.1.0, azure-mgmt-batch 19.0.0.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
PAGE_SIZE = 100
GRAPH_PAGE_SIZE = 1000
GRAPH_QUERY = "resources | summarize count() by type, subscriptionId"

PROVIDERS = (
    "Microsoft.App/containerApps",
    "Microsoft.App/jobs",
    "Microsoft.App/sessionPools",
    "Microsoft.Web/sites",
    "Microsoft.ContainerInstance/containerGroups",
    "Microsoft.MachineLearningServices/workspaces",
    "Microsoft.MachineLearningServices/registries",
    "Microsoft.Batch/batchAccounts",
    "Microsoft.AppPlatform/Spring",
    "Microsoft.RedHatOpenShift/openShiftClusters",
    "Microsoft.Kubernetes/connectedClusters",
    "Microsoft.ContainerService/fleets",
)
"""The types that a subscription may have. Other types do not exist."""

WITHOUT_LOCATION = {
    f"Microsoft.ContainerRegistry/registries/{part}"
    for part in ("cacheRules", "connectedRegistries", "scopeMaps", "tokens")
}
"""Parts of a registry that ARM shows without a location."""


@dataclass(slots=True)
class ServicesState:
    """
    Resources of other services, by their lower-case ids.

    unregistered: types whose provider no subscription has registered; in any case.
    graph_lags: ids that Resource Graph does not know yet.
    assignments: the role assignments that are listed for every scope.
    graph_truncates: Resource Graph cuts its answer after the first page, and says so.
    graph_types: further rows of Resource Graph, as (type, subscription).
    """

    resources: dict[str, JSON] = field(default_factory=dict)
    unregistered: set[str] = field(default_factory=set)
    graph_lags: set[str] = field(default_factory=set)
    graph_truncates: bool = False
    assignments: list[JSON] = field(default_factory=list)
    graph_types: list[tuple[str, str]] = field(default_factory=list)

    def add(self, resource_id: str, properties: JSON | None, **members: Any) -> JSON:
        """Add or replace a resource; return it, so that a test can damage it."""
        resource: JSON = {
            "id": resource_id,
            "name": members.pop("name", resource_id.rpartition("/")[2]),
            "type": type_of(resource_id),
            **({} if type_of(resource_id) in WITHOUT_LOCATION else {"location": "West Europe"}),
            **members,
            "properties": properties,
        }
        self.resources[resource_id.lower()] = resource
        return resource

    def has(self, scope: str) -> bool:
        """Return whether there is a resource below a scope."""
        return any(resource_id.startswith(f"{scope.lower()}/") for resource_id in self.resources)

    @property
    def groups(self) -> set[tuple[str, str]]:
        parts = (resource_id.split("/") for resource_id in self.resources)
        return {(part[2], part[4]) for part in parts if len(part) > 4 and part[3] == "resourcegroups"}

    # -- resources -----------------------------------------------------------------------------

    def container_app(
        self, name: str, *images: str, init: Iterable[str] = (), subscription: str = SUBSCRIPTION, **properties: Any
    ) -> JSON:
        """Add a Container App with one active revision, `NAME--1`."""
        template = _template(images, init)
        app = self.add(
            resource(f"Microsoft.App/containerApps/{name}", subscription),
            {
                "provisioningState": "Succeeded",
                "runningStatus": "Running",
                "latestRevisionName": f"{name}--1",
                "configuration": {"activeRevisionsMode": "Single", "maxInactiveRevisions": 100, "secrets": None},
                "template": template,
                **properties,
            },
            identity={"type": "None"},
        )
        self.revision(app, f"{name}--1", *images)
        return app

    def revision(self, app: JSON, name: str, *images: str, active: bool = True, created: str = "2026-05-01") -> JSON:
        """Add a revision of a Container App."""
        properties = {
            "active": active,
            "createdTime": f"{created}T10:00:00+00:00",
            "lastActiveTime": None,
            "replicas": int(active),
            "trafficWeight": 100 if active else 0,
            "template": _template(images, ()),
        }
        return self.add(f"{app['id']}/revisions/{name}", properties)

    def job(self, name: str, image: str, *, subscription: str = SUBSCRIPTION, executed: str = "") -> JSON:
        """Add a Container Apps job. `executed`: the image of its last execution."""
        job = self.add(
            resource(f"Microsoft.App/jobs/{name}", subscription),
            {"configuration": {"triggerType": "Manual", "replicaTimeout": 1800}, "template": _template([image], ())},
        )
        if executed:
            self.add(
                f"{job['id']}/executions/{name}-x1", {"status": "Succeeded", "template": _template([executed], ())}
            )
        return job

    def container_group(
        self, name: str, *images: str, state: str = "Running", subscription: str = SUBSCRIPTION
    ) -> JSON:
        """Add a container group. A stopped one keeps its definition."""
        containers = [
            {
                "name": f"c{index}",
                "properties": {"image": image, "resources": {"requests": {"cpu": 1, "memoryInGB": 1}}},
            }
            for index, image in enumerate(images)
        ]
        properties = {
            "provisioningState": "Succeeded",
            "containers": containers,
            "initContainers": [],
            "instanceView": {"state": state, "events": []},
            "osType": "Linux",
        }
        return self.add(resource(f"Microsoft.ContainerInstance/containerGroups/{name}", subscription), properties)

    def site(
        self,
        name: str,
        version: str | None = "",
        *,
        windows: str | None = None,
        kind: str = "app,linux,container",
        subscription: str = SUBSCRIPTION,
    ) -> JSON:
        """Add an App Service site. Its list shows no configuration, as in Azure."""
        site = self.add(resource(f"Microsoft.Web/sites/{name}", subscription), _site_properties(name, kind), kind=kind)
        self._configure(site["id"], version, windows)
        return site

    def slot(self, site: JSON, name: str, version: str = "") -> JSON:
        """Add a slot of a site. Its name is `site/slot`."""
        slot_id = f"{site['id']}/slots/{name}"
        properties = _site_properties(site["name"], site["kind"])
        slot = self.add(slot_id, properties, name=f"{site['name']}/{name}", kind=site["kind"])
        self._configure(slot_id, version, None)
        return slot

    def sidecar(self, site: JSON, name: str, image: str, *, main: bool = False) -> JSON:
        """Add a sidecar to a site or slot."""
        return self.add(f"{site['id']}/sitecontainers/{name}", {"image": image, "isMain": main, "targetPort": "8080"})

    def _configure(self, site_id: str, linux: str | None, windows: str | None) -> None:
        properties = {"numberOfWorkers": 1, "linuxFxVersion": linux, "windowsFxVersion": windows, "appSettings": None}
        self.add(f"{site_id}/config/web", properties)

    def task(
        self, registry_id: str, name: str, *, script: str = "", base: Sequence[JSON] = (), schedule: str = ""
    ) -> JSON:
        """Add a task of the registry, with its script or its base images."""
        timers = [{"name": "t1", "schedule": schedule, "status": "Enabled"}] if schedule else None
        step: JSON = {"type": "Docker", "imageNames": ["built:{{.Run.ID}}"], "dockerFilePath": "Dockerfile"}
        if script:
            step = {"type": "EncodedTask", "encodedTaskContent": base64.b64encode(script.encode()).decode()}
        step["baseImageDependencies"] = list(base) or None
        trigger = {"timerTriggers": timers, "sourceTriggers": None, "baseImageTrigger": None}
        properties = {"status": "Enabled", "step": step, "trigger": trigger, "timeout": 3600}
        return self.add(f"{registry_id}/tasks/{name}", properties)

    def connected_registry(self, registry_id: str, name: str, *repositories: str) -> JSON:
        """Add a connected registry that reads these repositories."""
        actions = [f"repositories/{each}/content/read" for each in repositories]
        scope = self.add(f"{registry_id}/scopeMaps/{name}-sync", {"actions": actions})
        token = self.add(
            f"{registry_id}/tokens/{name}-sync", {"scopeMapId": scope["id"], "status": "enabled", "credentials": {}}
        )
        parent = {"id": registry_id, "syncProperties": {"tokenId": token["id"], "messageTtl": "P2D"}}
        properties = {"mode": "ReadOnly", "connectionState": "Online", "parent": parent, "clientTokenIds": []}
        return self.add(f"{registry_id}/connectedRegistries/{name}", properties)

    def assign(
        self, principal: str, role: str, *permissions: str, scope: str = "/", kind: str = "ServicePrincipal"
    ) -> JSON:
        """Assign a role that grants these actions. `scope`: where; by default above all subscriptions."""
        definition = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role.lower()}"
        granted = [{"actions": list(permissions), "notActions": [], "dataActions": [], "notDataActions": []}]
        self.add(definition, {"roleName": role, "type": "BuiltInRole", "permissions": granted})
        properties = {"principalId": principal, "principalType": kind, "roleDefinitionId": definition, "scope": scope}
        name = f"a{len(self.assignments)}"
        path = f"{scope.rstrip('/')}/providers/Microsoft.Authorization/roleAssignments/{name}"
        self.assignments.append({"id": path, "name": name, "properties": {**properties, "condition": None}})
        return self.assignments[-1]

    # -- answers -------------------------------------------------------------------------------

    def listed(self, path: str, may_read: Callable[[str, str], bool]) -> list[JSON] | None:
        """
        Return the resources of the list at a path, or None if the path has no list.

        may_read: takes a type and an id. A list silently leaves out what the caller may not read.
        """
        path = path.lower().rstrip("/")
        if path.endswith("/providers/microsoft.authorization/roleassignments"):
            return self.assignments
        parts = path.split("/")
        if len(parts) == 6 and parts[3] == "providers":
            type_ = "/".join(parts[4:])
            if type_ not in {each.lower() for each in PROVIDERS} or type_ in {
                each.lower() for each in self.unregistered
            }:
                return None
            wanted = [
                item
                for key, item in self.resources.items()
                if str(item["type"]).lower() == type_ and key.startswith(f"/subscriptions/{parts[2]}/")
            ]
        else:
            wanted = [item for key, item in self.resources.items() if key.rpartition("/")[0] == path]
        return [item for item in wanted if may_read(str(item["type"]), str(item["id"]))]

    def graph(self, body: JSON, visible: Callable[[str, str], bool]) -> JSON:
        """Answer a query of Resource Graph, which counts types. Pages may repeat a row."""
        wanted = {str(each).lower() for each in body.get("subscriptions") or ()}
        counted = Counter(
            (str(item["type"]).lower(), key.split("/")[2])
            for key, item in self.resources.items()
            if key.count("/") == 8
            and key not in {each.lower() for each in self.graph_lags}
            and visible(item["type"], key)
        )
        counted.update((type_.lower(), subscription) for type_, subscription in self.graph_types)
        rows = [
            {"type": type_, "subscriptionId": subscription, "count_": count}
            for (type_, subscription), count in sorted(counted.items())
            if not wanted or subscription in wanted
        ]
        start = int((body.get("options") or {}).get("$skipToken") or 0)
        page = rows[start : start + GRAPH_PAGE_SIZE]
        answer: JSON = {"totalRecords": len(rows), "count": len(page), "data": page, "facets": []}
        more = start + GRAPH_PAGE_SIZE < len(rows)
        answer["resultTruncated"] = "true" if self.graph_truncates else "false"
        if more and not self.graph_truncates:
            answer["$skipToken"] = str(start + GRAPH_PAGE_SIZE)
        return answer


def resource(path: str, subscription: str = SUBSCRIPTION, group: str = "rg-apps") -> str:
    """Return the id of a resource. `path`: its type and name."""
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{path}"


def type_of(resource_id: str) -> str:
    """
    Return the type of a resource.

    >>> type_of("/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/a/slots/b")
    'Microsoft.Web/sites/slots'
    """
    namespace, *rest = resource_id.rpartition("/providers/")[2].split("/")
    return "/".join([namespace, *rest[::2]])


def compose(text: str) -> str:
    """Return a Compose file as the value of `linuxFxVersion`."""
    return f"COMPOSE|{base64.b64encode(text.encode()).decode()}"


def _template(images: Iterable[str], init: Iterable[str]) -> JSON:
    def containers(names: Iterable[str]) -> list[JSON]:
        return [
            {"name": f"c{index}", "image": image, "env": [], "args": None, "resources": {"cpu": 0.5, "memory": "1Gi"}}
            for index, image in enumerate(names)
        ]

    return {"containers": containers(images), "initContainers": containers(init) or None, "scale": {"minReplicas": 0}}


def _site_properties(name: str, kind: str) -> JSON:
    # Null by design: https://github.com/Azure/azure-rest-api-specs/issues/12104
    config = {"numberOfWorkers": 1, "linuxFxVersion": "", "windowsFxVersion": None, "appSettings": None}
    host = f"{name}.azurewebsites.net"
    return {
        "state": "Running",
        "defaultHostName": host,
        "siteConfig": config,
        "enabled": True,
        "reserved": "linux" in kind,
    }
