"""
A small stand-in for kubectl that can only read.

Commands: `get`, `version`, `auth can-i`, `api-resources` and raw access reviews. The emulated AKS
run command has it on its PATH. Output and errors of these commands are those of the real program,
except that the human-readable table is simpler. Standard library alone, so that it starts quickly.
"""

# ruff: noqa: T201 - it is a command line program

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.emulator.kubernetes.kubectl_arguments import Arguments, KubectlError
from tests.emulator.kubernetes.kubectl_print import print_columns, print_objects

JSON = dict[str, Any]

VERSION = "v1.36.2"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_REFUSED = "The connection to the server {} was refused - did you specify the right host or port?"
# The reasons that the real program prints for an answer that is not a Status object.
_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 429: "TooManyRequests", 503: "ServiceUnavailable"}


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """One kind of object, as the discovery document describes it."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...]
    verbs: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def answers_to(self, word: str) -> bool:
        """Return whether `word`, such as `po` or `deployments.v1.apps`, names this kind."""
        name, _, group = word.lower().partition(".")
        if name not in {self.plural, self.singular, *self.short_names}:
            return False
        return group in {"", self.group, f"{self.version}.{self.group}".rstrip(".")}


class Cluster:
    """The API server of the kubeconfig in $KUBECONFIG, which must be written as JSON."""

    def __init__(self, timeout: float | None) -> None:
        try:
            config = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
        except (KeyError, OSError):
            # Without a kubeconfig the real program connects to a server on this machine.
            raise KubectlError(_REFUSED.format("localhost:8080")) from None
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = cluster["server"]
        self._token = user.get("token")
        self._timeout = timeout
        self._tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        if "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile() as file:
                file.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
                file.write(base64.b64decode(user["client-key-data"]))
                file.flush()
                self._tls.load_cert_chain(file.name)

    def call(self, path: str, *, accept: str = "application/json", body: JSON | None = None) -> bytes:
        """
        Return the body of an answer.

        Raises KubectlError, in kubectl's words, if the call fails.
        """
        headers = {"Accept": accept, "User-Agent": f"kubectl/{VERSION}"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self._server + path, data=data, headers=headers)
        # This handler opens HTTPS only.
        handler = urllib.request.HTTPSHandler(context=self._tls)
        try:
            # No proxy: the command runs inside the cluster.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)
            with opener.open(request, timeout=self._timeout) as response:
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as error:
            raise KubectlError(_explain(error.code, error.read())) from None
        except (OSError, ValueError) as error:
            host = urllib.parse.urlsplit(self._server).netloc
            raise KubectlError(
                f"Unable to connect to the server: {error}"
                if not isinstance(error, ConnectionRefusedError)
                else _REFUSED.format(host)
            ) from None

    def kinds(self) -> Iterator[ResourceKind]:
        """Yield every kind in its preferred version, the core group first."""
        for root in ("/api", "/apis"):
            for group in json.loads(self.call(root, accept=_AGGREGATED))["items"]:
                name, plurals = group["metadata"].get("name", ""), set()
                for version in group["versions"]:
                    for resource in version.get("resources", ()):
                        if resource["resource"] not in plurals:
                            plurals.add(resource["resource"])
                            yield _kind(name, version["version"], resource)


def _kind(group: str, version: str, resource: JSON) -> ResourceKind:
    return ResourceKind(
        group,
        version,
        resource["resource"],
        resource["singularResource"],
        resource["responseKind"]["kind"],
        resource["scope"] == "Namespaced",
        tuple(resource.get("shortNames", ())),
        tuple(resource["verbs"]),
    )


def _explain(code: int, body: bytes) -> str:
    try:
        status = json.loads(body)
    except ValueError:
        status = {}
    if code == 401:
        return "error: You must be logged in to the server (Unauthorized)"
    if status.get("kind") == "Status":
        return f"Error from server ({status.get('reason') or _REASONS.get(code, 'Unknown')}): {status.get('message')}"
    reason = _REASONS.get(code, "InternalError")
    messages = {
        404: "the server could not find the requested resource",
        503: "the server is currently unable to handle the request",
    }
    return f"Error from server ({reason}): {messages.get(code, body.decode(errors='replace').strip())}"


def get(arguments: Arguments, cluster: Cluster) -> int:
    """Run `kubectl get`; return the exit code."""
    if "raw" in arguments.flags:
        sys.stdout.buffer.write(cluster.call(arguments.flags["raw"]))
        return 0
    _, *words = arguments.words
    if not words:
        raise KubectlError("error: Required resource not specified.")
    chosen = _choose(list(cluster.kinds()), words[0])
    names = words[1:]
    if names and arguments.on("all-namespaces"):
        raise KubectlError("error: a resource cannot be retrieved by name across all namespaces")
    objects: list[JSON] = []
    problems: list[str] = []
    for kind in chosen:
        try:
            for obj in _read(cluster, kind, arguments, names):
                objects.append(obj)  # noqa: PERF402 - keeps the objects read before an error
        except KubectlError as error:
            if "(NotFound)" not in str(error) or not arguments.on("ignore-not-found"):
                problems.append(str(error))
    # The real program first prints everything it could read: nothing, the first pages of a list, or
    # some of the kinds. Then it fails. So only its exit code shows that the output is incomplete.
    single = len(names) == 1 and len(chosen) == 1
    if not (problems and single) and (objects or not arguments.on("ignore-not-found")):
        print_objects(arguments, objects, single=single and len(objects) == 1)
    sys.stdout.flush()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _choose(kinds: list[ResourceKind], names: str) -> list[ResourceKind]:
    """Return the kinds that a list such as `pods,deployments.apps` names, in that order."""
    chosen: list[ResourceKind] = []
    for name in names.split(","):
        kind = next((kind for kind in kinds if kind.answers_to(name)), None)
        if kind is None:
            word = name.partition(".")[0]
            raise KubectlError(f'error: the server doesn\'t have a resource type "{word}"')
        chosen.append(kind)
    return chosen


def _read(cluster: Cluster, kind: ResourceKind, arguments: Arguments, names: list[str]) -> Iterator[JSON]:
    place = ""
    if kind.namespaced and not arguments.on("all-namespaces"):
        place = f"/namespaces/{arguments.flags.get('namespace', 'default')}"
    path = f"{kind.root}{place}/{kind.plural}"
    for name in names:
        yield json.loads(cluster.call(f"{path}/{urllib.parse.quote(name)}"))
    if names:
        return
    query = {"limit": arguments.flags.get("chunk-size", "500")}
    query |= {"labelSelector": arguments.flags["selector"]} if "selector" in arguments.flags else {}
    query |= {"fieldSelector": arguments.flags["field-selector"]} if "field-selector" in arguments.flags else {}
    if query["limit"] == "0":
        del query["limit"]
    while True:
        page = json.loads(cluster.call(f"{path}?{urllib.parse.urlencode(query)}"))
        for item in page["items"]:
            yield {"apiVersion": page["apiVersion"], "kind": kind.kind, **item}
        token = page["metadata"].get("continue")
        if not token:
            return
        query["continue"] = token


def version(arguments: Arguments, cluster: Cluster) -> int:
    """Run `kubectl version`; return the exit code."""
    client: JSON = {"clientVersion": {"gitVersion": VERSION}, "kustomizeVersion": "v5.7.1"}
    server = {} if arguments.on("client") else {"serverVersion": json.loads(cluster.call("/version"))}
    if arguments.flags.get("output") == "json":
        print(json.dumps(client | server, indent=2))
        return 0
    print(f"Client Version: {VERSION}\nKustomize Version: v5.7.1")
    if server:
        print(f"Server Version: {server['serverVersion']['gitVersion']}")
    return 0


def can_i(arguments: Arguments, cluster: Cluster) -> int:
    """Run `kubectl auth can-i VERB RESOURCE`; the exit code is 0 for yes and 1 for no."""
    _, _, verb, resource, *_ = [*arguments.words, "", ""]
    kind = next((kind for kind in cluster.kinds() if kind.answers_to(resource)), None)
    if kind is None and resource != "*":
        print(f"Warning: the server doesn't have a resource type '{resource}'", file=sys.stderr)
    attributes: JSON = {
        "verb": verb,
        "group": kind.group if kind else "",
        "resource": kind.plural if kind else resource,
    }
    if not arguments.on("all-namespaces"):
        attributes["namespace"] = arguments.flags.get("namespace", "default")
    review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
    body = {**review, "spec": {"resourceAttributes": attributes}}
    answer = json.loads(cluster.call("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body))
    allowed = bool(answer["status"]["allowed"])
    if not arguments.on("quiet"):
        print("yes" if allowed else "no")
    return 0 if allowed else 1


def api_resources(arguments: Arguments, cluster: Cluster) -> int:
    """
    Run `kubectl api-resources`, as a table or `-o name`; return the exit code.

    It knows `--verbs`, `--namespaced` and `--api-group`. Like the real program, it silently leaves
    out a group version whose backend is down, if the server describes all groups in one document.
    """
    verbs = set(filter(None, arguments.flags.get("verbs", "").split(",")))
    rows: list[list[str]] = []
    for kind in sorted(cluster.kinds(), key=lambda kind: (kind.group, kind.plural)):
        if not verbs <= set(kind.verbs) or arguments.flags.get("api-group", kind.group) != kind.group:
            continue
        if "namespaced" in arguments.flags and arguments.on("namespaced") != kind.namespaced:
            continue
        api_version = f"{kind.group}/{kind.version}" if kind.group else kind.version
        rows.append([kind.plural, ",".join(kind.short_names), api_version, str(kind.namespaced).lower(), kind.kind])
        if arguments.flags.get("output") == "name":
            print(kind.key)
    if "output" not in arguments.flags:
        heads = [["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]]
        print_columns(rows if arguments.on("no-headers") else heads + rows)
    return 0


def create(arguments: Arguments, cluster: Cluster) -> int:
    """Run `kubectl create --raw PATH -f -`; the emulated server accepts only access reviews."""
    if "raw" not in arguments.flags or arguments.flags.get("filename") != "-":
        raise KubectlError("error: this is a stand-in that can only read")
    sys.stdout.buffer.write(cluster.call(arguments.flags["raw"], body=json.load(sys.stdin)))
    return 0


def _seconds(text: str) -> float | None:
    """Return the seconds of a duration such as `30`, `30s` or `1m`; None for `0`, no timeout."""
    units = {"": 1, "s": 1, "m": 60, "h": 3600}
    total = sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([smh]?)", text))
    return total or None


def _command(words: list[str]) -> Callable[[Arguments, Cluster], int]:
    match words:
        case ["get", *_]:
            return get
        case ["version", *_]:
            return version
        case ["auth", "can-i", *_]:
            return can_i
        case ["api-resources", *_]:
            return api_resources
        case ["create"]:
            return create
    known = " ".join(words[:2])
    raise KubectlError(f'error: unknown command "{known}" for "kubectl" (this is a stand-in that can only read)')


def main(argv: list[str]) -> int:
    """Run one command line; return the exit code."""
    try:
        arguments = Arguments(argv)
        cluster = Cluster(_seconds(arguments.flags.get("request-timeout", "0")))
        return _command(arguments.words)(arguments, cluster)
    except KubectlError as error:
        sys.stdout.flush()
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
