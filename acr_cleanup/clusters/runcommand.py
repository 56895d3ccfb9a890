"""
Reads a cluster through an AKS run command: for API servers that only the cluster's own network reaches.

A run command gives back what it printed, as one text of at most 512 kB that is cut without a sign. So the command prints one
compressed block between two markers, with its length and checksum, and whatever else is in the log, or is missing from it, is a
blocker.
The block holds, for each object, just the fields that `objects.image_uses` reads; they are put back into the shape of the object
and read by that same function, so that both ways of reading a cluster find the same.
https://learn.microsoft.com/azure/aks/access-private-cluster#limitations-and-considerations
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import shlex
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from acr_cleanup.clusters.api import Answer
from acr_cleanup.clusters.objects import CONTAINER_LISTS, KINDS, POD, STATUS_LISTS, Findings, Kind, image_uses
from acr_cleanup.clusters.scanner import empty_list_problem, list_attributes
from acr_cleanup.clusters.unread import Unread, quoted
from acr_cleanup.core.references import Registry
from acr_cleanup.core.usage import ClusterScan

ACCESS = "run-command"
CALL = "run command (kubectl get)"

# Between the fields of an entry, between the entries of an object, and between objects: no image name holds these. Line ends
# inside a field travel as the fourth, so that one object is one line.
_FIELD, _ENTRY, _OBJECT, _NEWLINE = "\x1f", "\x1d", "\x1e", "\x1c"
_VERSION = "1"
_BEGIN = re.compile(rf"acr-cleanup begin {_VERSION} (?P<sum>[0-9a-f]{{64}}) (?P<size>[0-9]+)")
_END = "acr-cleanup end"
_BASE64 = re.compile(r"[A-Za-z0-9+/=]+")
_MOST_BYTES = 256 * 1024 * 1024
_FOREIGN_LINES_QUOTED = 3

# POSIX sh and no tool beyond kubectl, tr, sed, grep, sort, wc, sha256sum, gzip and base64. Of JSONPath, only paths and ranges.
# Replicas share their owner: without their own names (the first sed) they are one line (sort -u). Volumes that are no images go
# (the second), and what cannot name our registry is not sent at all (grep). An empty list is followed by a review of the right to
# list: in plain JSON, or else as kubectl has it.
_SCRIPT = r"""
LC_ALL=C; export LC_ALL
u=$(printf '\037'); g=$(printf '\035'); r=$(printf '\036')
bad=0; all=
review() {
  printf '{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":%s}}' "$1" |
    kubectl create --raw /apis/authorization.k8s.io/v1/selfsubjectaccessreviews -f - 2>&1
}
read_kind() {
  t="{range .items[*]}$1$u{.metadata.namespace}$u{.metadata.name}$u{.metadata.labels.pod-template-hash}$g"
  t="$t{range .metadata.ownerReferences[*]}owner$u{.kind}$u{.name}$u{.controller}$g{end}"
  for l in @CONTAINERS@; do t="$t{range $4.$l[*]}$l$u{.name}$u{.image}$g{end}"; done
  t="$t{range $4.volumes[*]}volumes$u{.name}$u{.image.reference}$g{end}$5$r{end}"
  if [ "$6" = must ]; then
    found=$(kubectl get "$2" -A -o "jsonpath=$t") || { bad=1; return 0; }
  else
    found=$(kubectl get "$2" -A -o "jsonpath=$t" 2>/dev/null) || return 0
  fi
  count=$(printf '%s' "$found" | tr -cd '\036' | wc -c); count=$((count))
  may=
  if [ "$6$count" = must0 ]; then may=$(review "$3") || may=$(kubectl auth can-i list "$2" -A 2>&1) || :; fi
  all="$all$found#$u$2$u$count$u$may$r"
}
s=
for l in @STATUSES@; do s="$s{range .status.$l[*]}$l$u{.name}$u{.image}$u{.imageID}$g{end}"; done
@KINDS@
body=$(printf '%s' "$all" | tr '\n\036' '\034\n' |
  sed -e "/${g}owner$u[^$u]*$u[^$u]*${u}true$g/s/^\([A-Za-z]*$u[^$u]*$u\)[^$u]*/\1/" -e "s/volumes$u[^$u$g]*$u$g//g" |
  grep -iF -e "#$u" @HOSTS@ | sort -u)
sum=$(printf '%s' "$body" | sha256sum); size=$(printf '%s' "$body" | wc -c)
printf 'acr-cleanup begin @VERSION@ %s %s\n' "${sum%% *}" "$((size))"
printf '%s' "$body" | gzip -9 -c | base64
printf '@END@\n'
exit "$bad"
"""


def script(registry: Registry) -> str:
    """The command that AKS is asked to run. It reads, and nothing else."""
    kinds = "\n".join(_read_kind(kind) for kind in KINDS)
    # The first label is in every name of the registry, regional ones included; aliases are names of their own.
    login_server = registry.login_server.partition(":")[0].partition(".")[0]
    hosts = sorted({login_server, *(alias.partition(":")[0] for alias in registry.aliases)})
    parts = {
        "CONTAINERS": " ".join(CONTAINER_LISTS),
        "STATUSES": " ".join(STATUS_LISTS),
        "KINDS": kinds,
        "HOSTS": " ".join(f"-e {shlex.quote(host)}" for host in hosts),
        "VERSION": _VERSION,
        "END": _END,
    }
    return re.sub(r"@([A-Z]+)@", lambda match: parts[match.group(1)], _SCRIPT).lstrip()


def _read_kind(kind: Kind) -> str:
    attributes = json.dumps(list_attributes(kind), separators=(",", ":"))
    status = '"$s"' if kind is POD else '""'
    must = "must" if kind.in_reader_roles else "may"
    return f"read_kind {kind.name} {kind} '{attributes}' .{'.'.join(kind.pod_spec)} {status} {must}"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What ARM says of a finished run command. `state` is its provisioningState, `reason` why it did not run."""

    state: str
    exit_code: int | None
    logs: str
    reason: str = ""


def read_result(result: CommandResult, cluster: str, registry: Registry) -> ClusterScan:
    """
    What a finished run command found. Never raises: whatever is wrong with it is a blocker.

    Uses found in a block that is whole count even if something else failed: they are uses all the same.
    """
    log = _split(result.logs)
    found, objects = Findings(), 0
    problems = list(_problems(result, log))
    try:
        body = _body(log)
        if body is not None:
            found, objects = _read_body(body, cluster, registry, whole=not problems)
    except Unread as unread:
        problems.append(unread)
    for problem in problems:
        found.blockers[problem.blocker(cluster)] = None
    return ClusterScan(cluster, tuple(found.uses), tuple(found.blockers), ACCESS, objects)


@dataclass(frozen=True, slots=True)
class _Log:
    """A log, sorted into what the command prints (markers and base64) and what it does not."""

    size: int
    begins: tuple[str, ...]
    ends: int
    block: tuple[str, ...]
    foreign: tuple[str, ...]


def _split(text: str) -> _Log:
    begins, block, foreign, ends = list[str](), list[str](), list[str](), 0
    for line in (raw.strip() for raw in text.split("\n")):
        if _BEGIN.fullmatch(line):
            begins.append(line)
        elif line == _END:
            ends += 1
        elif begins and not ends and _BASE64.fullmatch(line):
            block.append(line)
        elif line:
            foreign.append(line)
    return _Log(len(text.encode(errors="replace")), tuple(begins), ends, tuple(block), tuple(foreign))


_DIRECT = "If this goes on, read the cluster with `access: direct` from a runner inside its network."


def _problems(result: CommandResult, log: _Log) -> Iterator[Unread]:
    if result.state.lower() != "succeeded":
        why = f": {quoted(result.reason)}" if result.reason else ""
        yield Unread(
            CALL, f"AKS did not run it: {quoted(result.state, 40) or 'no state'}{why}.", f"Run it again. {_DIRECT}"
        )
        return
    lines = "; ".join(quoted(line) for line in log.foreign[:_FOREIGN_LINES_QUOTED])
    if result.exit_code != 0:
        yield Unread(
            CALL,
            f"it ended with exit code {result.exit_code}{f': {lines}' if lines else ''}.",
            "Mend what the lines complain of; every kind of workload must be listable in all namespaces (on a cluster with "
            "Azure RBAC: the role Azure Kubernetes Service RBAC Reader).",
        )
    elif log.foreign:
        yield Unread(
            CALL,
            f"its log holds lines that are not its result: {lines}.",
            f"Mend what the lines complain of. {_DIRECT}",
        )
    if not result.logs.strip():
        yield Unread(CALL, "its log is empty.", f"Run it again. {_DIRECT}")
    elif len(log.begins) == 1 and log.ends == 0:
        yield Unread(
            CALL,
            f"its log is cut: it stops after {log.size // 1024} kB, before its end marker (AKS keeps 512 kB).",
            "This cluster is too large for a run command: use `access: direct` from a runner inside its network.",
        )
    elif (len(log.begins), log.ends) != (1, 1):
        seen = "its log has not exactly one start and one end marker: part of it is missing."
        yield Unread(CALL, seen, f"Run it again. {_DIRECT}")


def _body(log: _Log) -> str | None:
    """What was printed between the markers, None where they are not whole; raises `Unread` if it is not what was sent."""
    if (len(log.begins), log.ends) != (1, 1):
        return None
    marker = _BEGIN.fullmatch(log.begins[0])
    damaged = Unread(CALL, "its result was damaged on the way: length or checksum differ.", f"Run it again. {_DIRECT}")
    try:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # gzip
        body = unpacker.decompress(base64.b64decode("".join(log.block), validate=True), _MOST_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise damaged from error
    whole = unpacker.eof and marker is not None
    if (
        not whole
        or marker is None
        or len(body) != int(marker["size"])
        or hashlib.sha256(body).hexdigest() != marker["sum"]
    ):
        raise damaged
    return body.decode(errors="replace")


def _read_body(body: str, cluster: str, registry: Registry, *, whole: bool) -> tuple[Findings, int]:
    """What the block holds. `whole` says that nothing else is wrong, so that a kind missing from it needs a blocker of its own."""
    found = Findings()
    counts: dict[str, tuple[int, str]] = {}
    for line in body.split("\n"):
        if line.startswith(f"#{_FIELD}"):
            _, resource, number, may = _fields(line.replace(_NEWLINE, "\n"), 4)
            counts[resource] = int(number) if number.isdecimal() else -1, may
        elif line:
            kind, obj = _object(line.replace(_NEWLINE, "\n"))
            found.add(image_uses(obj, kind, cluster, registry))
    for kind in KINDS:
        count, may = counts.get(str(kind), (-1, ""))
        unread: Unread | None = None
        if kind.in_reader_roles and count == 0:
            unread = empty_list_problem(kind, _reviewed(may))
        elif kind.in_reader_roles and count < 0 and whole:
            unread = Unread(f"list {kind}", "the run command's result does not cover them.", f"Run it again. {_DIRECT}")
        if unread is not None:
            found.blockers[unread.blocker(cluster)] = None
    return found, sum(max(count, 0) for count, _ in counts.values())


def _reviewed(text: str) -> Answer:
    """What kubectl printed of a review, as the answer of the API server that it stands for."""
    if "(NotFound)" in text or "(MethodNotAllowed)" in text:
        return Answer(404, text.encode())
    plain = {"yes": True, "no": False}.get(text.strip().partition(" ")[0])
    return Answer(201, json.dumps({"status": {"allowed": plain}}).encode() if plain is not None else text.encode())


def _object(line: str) -> tuple[Kind, dict[str, Any]]:
    """An object with just the fields that `image_uses` reads, from its line."""
    head, *entries = line.split(_ENTRY)
    name, namespace, own_name, template_hash = _fields(head, 4)
    kind = next((kind for kind in KINDS if kind.name == name), None)
    # Every entry ends in a separator, so what follows the last one is nothing.
    if kind is None or not entries or entries.pop():
        raise _odd(line)
    owners: list[Any] = []
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}
    for entry in entries:
        place = entry.partition(_FIELD)[0]
        if place == "owner":
            _, owner_kind, owner_name, controller = _fields(entry, 4)
            owners.append({"kind": owner_kind, "name": owner_name, "controller": controller == "true"})
        elif place in CONTAINER_LISTS:
            _, container, image = _fields(entry, 3)
            spec.setdefault(place, []).append({"name": container, "image": image})
        elif place == "volumes":
            _, volume, reference = _fields(entry, 3)
            spec.setdefault(place, []).append({"name": volume, "image": {"reference": reference}})
        elif place in STATUS_LISTS and kind is POD:
            _, container, image, image_id = _fields(entry, 4)
            status.setdefault(place, []).append({"name": container, "image": image, "imageID": image_id})
        else:
            raise _odd(line)
    labels = {"pod-template-hash": template_hash}
    metadata = {"namespace": namespace, "name": own_name, "labels": labels, "ownerReferences": owners}
    obj: dict[str, Any] = spec
    for key in reversed(kind.pod_spec):
        obj = {key: obj}
    return kind, obj | {"metadata": metadata, "status": status}


def _fields(text: str, count: int) -> list[str]:
    fields = text.split(_FIELD)
    if len(fields) != count:
        raise _odd(text)
    return fields


def _odd(line: str) -> Unread:
    return Unread(CALL, f"its result holds a record that cannot be read: {quoted(line)}.", _DIRECT)
