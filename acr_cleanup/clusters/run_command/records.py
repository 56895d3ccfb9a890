"""
The records in the result of a run command: objects, counts, failed lists, access reviews and
discovery.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.api_server.client import HttpAnswer
from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP, NOT_READ, SECRET, DiscoveryBuilder
from acr_cleanup.clusters.api_server.list_rights import (
    LOG_IN,
    REMEDY_LOG_IN,
    empty_list_problem,
    or_waive_it,
    rule_to_add,
)
from acr_cleanup.clusters.api_server.pages import has_helm_objects
from acr_cleanup.clusters.images.helm_history import History
from acr_cleanup.clusters.images.mention_index import DigestPlace
from acr_cleanup.clusters.images.pod_specs import KINDS, Findings, Kind, image_uses
from acr_cleanup.clusters.images.workload_texts import PARTS
from acr_cleanup.clusters.run_command.script import CALL, DIRECT, FIELD, FIELDS
from acr_cleanup.clusters.target import Search
from acr_cleanup.core.references import parse_digest
from acr_cleanup.core.workload import Workload
from acr_cleanup.quoting import quoted

_BUILT_IN = {(kind.api_version, kind.name): kind for kind in KINDS}


@dataclass(slots=True)
class RecordReader:
    """
    Reads the records of a block, one by one.

    objects: how many objects the records stand for.
    findings: the uses and blockers of these objects.
    """

    cluster: str
    search: Search
    objects: int = 0
    findings: Findings = field(default_factory=Findings)
    # Resource as kubectl names it -> the error of its list, empty if it succeeded.
    _ended: dict[str, str] = field(default_factory=dict)
    _reviews: dict[str, str] = field(default_factory=dict)
    _counts: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    _served: dict[str, Kind] = field(default_factory=dict)
    # Group version without a resource that kubectl lists -> whether describing it failed, and the
    # server's description or error.
    _versions: dict[str, tuple[bool, str]] = field(default_factory=dict)
    _malformed: list[ReadFailure] = field(default_factory=list)
    _helm_seen: bool = False
    _history: History | None = None

    def __post_init__(self) -> None:
        self._served[str(CONFIG_MAP)] = CONFIG_MAP
        if self.search.helm_history > 0:
            self._history = History(self.search.helm_history, self.cluster, self.search.names)

    def take(self, line: str) -> None:
        """Read one line of the block. A line that is not a record becomes a failure."""
        if not line.strip(" "):
            return
        count, _, record = line.strip(" ").partition(" ")
        tag, *fields = record.split(FIELD)
        try:
            self._record(int(count), tag, fields)
        except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError):  # also text that is not JSON
            self._malformed.append(
                ReadFailure(
                    CALL, f"its result has a record that cannot be read: {quoted(line)}.", f"Run it again. {DIRECT}"
                )
            )

    def _record(self, count: int, tag: str, fields: list[str]) -> None:
        match tag, fields:
            case "c", [api_version, kind, helm]:
                self._count(api_version, kind, count)
                self._helm_seen |= helm == "helm"
            case "s", [digest]:
                # The only finding in its object. The object is unknown, but the digest is kept.
                self.findings.add_digest(parse_digest(f"sha256:{digest}"), DigestPlace(self._anonymous, ""))
            case "o", [api_version, kind, _, text]:
                self._count(api_version, kind, count)
                self._object(self._kind(api_version, kind), _decoded(text))
            case "p", [api_version, kind, namespace, name, *parts] if len(parts) == len(FIELDS):
                self._count(api_version, kind, count)
                self._object(_BUILT_IN[api_version, kind], _assembled(namespace, name, parts))
            case "#", [resources, code, text]:
                for resource in resources.split(","):
                    failed = "" if code == "0" else text or "it failed without an error message"
                    # A later success does not cancel a failure.
                    self._ended[resource] = self._ended.get(resource, "") or failed
            case "v", [resource, text]:
                self._reviews[resource] = text
            case "h" | "g", [resource, namespace, name, type_, labels, data] if self._history is not None:
                release = _decoded(data) if tag == "h" else {"release": _packed(data, resource)}
                metadata = {"namespace": namespace, "name": name, "labels": _decoded(labels)}
                kind = "Secret" if resource == str(SECRET) else "ConfigMap"
                typed = {"type": type_} if kind == "Secret" else {}
                self._history.add({"kind": kind, **typed, "metadata": metadata, "data": release})
            case _:
                self._discovery_record(tag, fields)

    def _discovery_record(self, tag: str, fields: list[str]) -> None:
        match tag, fields:
            case "r", [name, api_version, kind] if name and api_version and kind:
                group, _, version = api_version.rpartition("/")
                served = Kind(kind, name, group, always_served=False, version=version)
                self._served.setdefault(str(served), served)
            case "x", [text]:
                self._malformed.append(
                    ReadFailure("asking what the API server serves", f"kubectl says {quoted(text)!r}.", DIRECT)
                )
            case "d", [group_version, code, text]:
                self._versions[group_version] = code != "0", text
            case _:
                raise ValueError("not a record")

    def _count(self, api_version: str, kind: str, count: int) -> None:
        self._counts[api_version, kind] += count
        self.objects += count

    def _kind(self, api_version: str, name: str) -> Kind:
        group, _, version = api_version.rpartition("/")
        same = (kind for kind in self._served.values() if (kind.group, kind.name) == (group, name))
        return next(same, Kind(name, name.lower(), group, always_served=False, version=version))

    def _object(self, kind: Kind, obj: Any) -> None:
        if not isinstance(obj, dict):
            raise TypeError("not an object")
        self.findings.add(image_uses(obj, kind, self.cluster, self.search.names))
        if not self._helm_seen:
            metadata = json.dumps({"metadata": obj.get("metadata")}).encode()
            self._helm_seen = has_helm_objects(metadata, [msgspec.Raw(metadata)])

    def read_helm_history(self) -> None:
        """Add the uses of Helm's releases; call it after the last record."""
        if self._history is not None:
            self.findings.add(self._history.findings())

    @property
    def _anonymous(self) -> Workload:
        return Workload(self.cluster, "", "object", "that names nothing else")

    @property
    def lacks_history(self) -> bool:
        """Does Helm manage objects whose history is not read?"""
        return self._helm_seen and self._history is None

    # -- what is missing ---------------------------------------------------------------------------

    def problems(self, *, whole: bool) -> Iterator[ReadFailure]:
        """
        Return what was not read, by kind.

        whole: the log has no other problem, so a missing record is reported.
        """
        yield from self._malformed
        further = [
            kind for name, kind in sorted(self._served.items()) if not _is_excluded(name, self.search.ignore_kinds)
        ]
        for kind in (*KINDS, *further):
            yield from self._problems_of(kind, str(kind), str(kind), whole=whole)
        if self._history is not None:
            for kind in (SECRET, CONFIG_MAP):
                yield from self._problems_of(kind, f"helm:{kind}", str(kind), whole=whole)
        yield from self._discovery_problems(whole=whole)

    def _problems_of(self, kind: Kind, key: str, resource: str, *, whole: bool) -> Iterator[ReadFailure]:
        call = f"list {kind}"
        seen = self._ended.get(key)
        if seen is None:
            if whole:
                remedy = or_waive_it(kind, self.cluster, f"Run it again. {DIRECT}")
                yield ReadFailure(call, "the run command's result does not include them.", remedy, kind=resource)
        elif "(Unauthorized)" in seen:
            yield ReadFailure(LOG_IN, quoted(seen), REMEDY_LOG_IN)
        elif "(Forbidden)" in seen:
            yield ReadFailure(call, quoted(seen), rule_to_add(kind, self.cluster), kind=resource)
        elif seen and (
            kind.always_served or str(kind) in self._served or "the server doesn't have a resource type" not in seen
        ):
            yield ReadFailure(
                call, quoted(seen), or_waive_it(kind, self.cluster, f"Run again. {DIRECT}"), kind=resource
            )
        elif not seen and not self._has_some(kind, key):
            # The right to list everything includes the right to list this kind.
            reviews = [self._reviews[name] for name in ("*", str(kind)) if name in self._reviews] or [""]
            problems = [empty_list_problem(kind, _reviewed(review), self.cluster) for review in reviews]
            if None not in problems and (problem := problems[-1]) is not None:
                yield problem

    def _has_some(self, kind: Kind, key: str) -> bool:
        """Return whether there were objects of this kind, in any version."""
        name = kind.name if key == str(kind) else key
        return any(other == name and _group(api_version) == kind.group for api_version, other in self._counts)

    def _discovery_problems(self, *, whole: bool) -> Iterator[ReadFailure]:
        call = "asking what the API server serves"
        for key in ("api-resources", "/apis"):
            seen = self._ended.get(key)
            if seen is None and whole:
                yield ReadFailure(call, "the run command's result does not include it.", f"Run it again. {DIRECT}")
            elif seen and key == "/apis" and "(NotFound)" not in seen:
                yield ReadFailure(f"{call} (/apis)", quoted(seen), f"Run it again. {DIRECT}")
            elif seen and key == "api-resources" and str(KINDS[0]) not in self._served:
                # Without these resources nothing is known. Other missing group versions have
                # records of their own.
                yield ReadFailure(call, quoted(seen), f"Run it again. {DIRECT}")
        for group_version, (failed, text) in self._versions.items():
            if failed:
                yield dead_version(group_version, quoted(text), self.cluster)
            else:
                yield from self._unlisted(group_version, text)

    def _unlisted(self, group_version: str, text: str) -> Iterator[ReadFailure]:
        """
        Check by the server's description that a group version has no resource to list, since
        kubectl listed none.
        """
        group = group_version.rpartition("/")[0]
        try:
            described = msgspec.json.decode(text, type=_ResourceList)
        except (msgspec.DecodeError, RecursionError):
            yield dead_version(group_version, f"no description of its resources: {quoted(text, 80)}", self.cluster)
            return
        for resource in described.resources or ():
            name = f"{resource.name}.{group}"
            if "list" in (resource.verbs or ()) and "/" not in resource.name and name not in self._served:
                seen = f"kubectl does not list {quoted(name, 80)}, which the server has."
                yield dead_version(group_version, seen, self.cluster)
                return


class _Resource(msgspec.Struct):
    name: str
    verbs: list[str] | None = None


class _ResourceList(msgspec.Struct):
    resources: list[_Resource] | None


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _is_excluded(resource: str, ignored: frozenset[str]) -> bool:
    group = resource.partition(".")[2]
    left_out = ignored | NOT_READ.keys()
    return resource in left_out or f"*.{group}" in left_out or resource in map(str, KINDS)


def dead_version(group_version: str, seen: str, cluster: str) -> ReadFailure:
    """
    Return the failure of a group version whose resources are unknown, worded as discovery words it.
    """
    builder = DiscoveryBuilder(cluster)
    group, _, version = group_version.rpartition("/")
    builder.add_failure(group, version, ReadFailure("", seen, ""))
    return builder.failures[0]


def _assembled(namespace: str, name: str, parts: Iterable[str]) -> dict[str, Any]:
    """
    Assemble an object with a pod spec from its fields, each of which is JSON, or empty if the
    object lacks it.
    """
    owners, status, labels, annotations, *others = map(_decoded, parts)
    metadata = {
        "namespace": namespace,
        "name": name,
        "ownerReferences": owners,
        "labels": labels,
        "annotations": annotations,
    }
    obj = {"metadata": metadata, "status": status}
    return obj | {key: value for key, value in zip(PARTS, others, strict=True) if value is not None}


def _decoded(text: str) -> Any:
    """Decode JSON; None if kubectl found no such field."""
    return msgspec.json.decode(text) if text else None


def _packed(release: str, resource: str) -> str:
    """Encode a release as Helm stores it and the API server returns it."""
    data = base64.b64encode(gzip.compress(release.encode(), 1))
    return (base64.b64encode(data) if resource == str(SECRET) else data).decode()


def _reviewed(text: str) -> HttpAnswer:
    """Turn what kubectl printed about an access review into the response of the API server."""
    if "(NotFound)" in text or "(MethodNotAllowed)" in text:
        return HttpAnswer(404, text.encode())
    plain = {"yes": True, "no": False}.get(text.strip().partition(" ")[0])
    return HttpAnswer(201, json.dumps({"status": {"allowed": plain}}).encode() if plain is not None else text.encode())
