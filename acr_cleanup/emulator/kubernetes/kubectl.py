"""
A small stand-in for kubectl, enough for reading: `get`, `version`, `auth can-i`, `api-resources`, and raw access reviews.

It is what the emulated AKS run command finds on its PATH. Output and errors are those of the real program for what is
supported; only the human-readable table is simpler. Standard library alone, so that it starts quickly.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acr_cleanup.emulator.kubernetes.jsonpath import JsonPathError, JsonPathIndexError, go_json, render

JSON = dict[str, Any]

VERSION = "v1.36.2"
_SHORT = {
    "-A": "all-namespaces",
    "-o": "output",
    "-n": "namespace",
    "-l": "selector",
    "-L": "label-columns",
    "-q": "quiet",
    "-f": "filename",
}
_SWITCHES = {"all-namespaces", "ignore-not-found", "no-headers", "quiet", "client", "namespaced", "show-managed-fields"}
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_REFUSED = "The connection to the server {} was refused - did you specify the right host or port?"
# What the real program says for a status that carries no reason of its own.
_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 429: "TooManyRequests", 503: "ServiceUnavailable"}


class KubectlError(Exception):
    """Printed on stderr as it stands; the exit code is 1."""


class Arguments:
    """Words and flags of a command line; flags may be `-o json`, `-o=json`, `-ojson`, `--output json`, `--output=json`."""

    def __init__(self, argv: list[str]) -> None:
        self.words: list[str] = []
        self.flags: dict[str, str] = {}
        rest = list(argv)
        while rest:
            item = rest.pop(0)
            if not item.startswith("-") or item == "-":
                self.words.append(item)
                continue
            if item.startswith("--"):
                name, given, value = item[2:].partition("=")
            else:
                name, value = _SHORT.get(item[:2], item[1:]), item[2:].removeprefix("=")
                given = value
            if name in _SWITCHES:
                self.flags[name] = value if given else "true"
            elif given:
                self.flags[name] = value
            elif rest:
                self.flags[name] = rest.pop(0)
            else:
                raise KubectlError(f"error: flag needs an argument: {item}")

    def on(self, name: str) -> bool:
        """Whether a switch is set."""
        return self.flags.get(name) == "true"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object that the server knows."""

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
        """Whether kubectl's user means this kind by `pods`, `po`, `deployments.apps` or `deployments.v1.apps`."""
        name, _, group = word.lower().partition(".")
        if name not in {self.plural, self.singular, *self.short_names}:
            return False
        return group in {"", self.group, f"{self.version}.{self.group}".rstrip(".")}


class Cluster:
    """The API server of the kubeconfig in $KUBECONFIG (as JSON, which is YAML too)."""

    def __init__(self, timeout: float | None) -> None:
        try:
            config = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
        except (KeyError, OSError):
            # Without a kubeconfig the real program looks for a server on this machine.
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
        """The body of an answer; any other answer is an error in kubectl's words."""
        headers = {"Accept": accept, "User-Agent": f"kubectl/{VERSION}"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self._server + path, data=data, headers=headers)  # noqa: S310 - only HTTPS opens
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

    def kinds(self) -> Iterator[Kind]:
        """Every kind, core first, each in its preferred version."""
        for root in ("/api", "/apis"):
            for group in json.loads(self.call(root, accept=_AGGREGATED))["items"]:
                name, seen = group["metadata"].get("name", ""), set()
                for version in group["versions"]:
                    for found in version.get("resources", ()):
                        if found["resource"] not in seen:
                            seen.add(found["resource"])
                            yield _kind(name, version["version"], found)


def _kind(group: str, version: str, found: JSON) -> Kind:
    return Kind(
        group,
        version,
        found["resource"],
        found["singularResource"],
        found["responseKind"]["kind"],
        found["scope"] == "Namespaced",
        tuple(found.get("shortNames", ())),
        tuple(found["verbs"]),
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
    """`kubectl get`."""
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
    found: list[JSON] = []
    problems: list[str] = []
    for kind in chosen:
        try:
            for obj in _read(cluster, kind, arguments, names):
                found.append(obj)  # noqa: PERF402 - what came before an error is kept
        except KubectlError as error:
            if "(NotFound)" not in str(error) or not arguments.on("ignore-not-found"):
                problems.append(str(error))
    # The real program prints what it could read, be it nothing, the first pages of a list or some of the kinds, and
    # fails only afterwards: whoever reads its output must look at its exit code.
    single = len(names) == 1 and len(chosen) == 1
    if not (problems and single) and (found or not arguments.on("ignore-not-found")):
        _print_objects(arguments, found, single=single and len(found) == 1)
    sys.stdout.flush()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _choose(kinds: list[Kind], names: str) -> list[Kind]:
    """The kinds that `pods,deployments.apps` means, in that order."""
    chosen: list[Kind] = []
    for name in names.split(","):
        kind = next((kind for kind in kinds if kind.answers_to(name)), None)
        if kind is None:
            word = name.partition(".")[0]
            raise KubectlError(f'error: the server doesn\'t have a resource type "{word}"')
        chosen.append(kind)
    return chosen


def _read(cluster: Cluster, kind: Kind, arguments: Arguments, names: list[str]) -> Iterator[JSON]:
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


def _print_objects(arguments: Arguments, found: list[JSON], *, single: bool) -> None:
    output = arguments.flags.get("output", "")
    form, _, template = output.partition("=")
    whole: JSON = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": found}
    shown = found[0] if single else whole
    if form == "json":
        if not arguments.on("show-managed-fields"):
            for obj in found:
                obj["metadata"].pop("managedFields", None)
        print(go_json(shown, indent=4))
    elif form == "jsonpath":
        _print_jsonpath(template, shown)
    elif form == "jsonpath-file":
        _print_jsonpath(Path(template).read_text(), shown)
    elif form == "name":
        for obj in found:
            group = obj["apiVersion"].rpartition("/")[0]
            suffix = f".{group}" if group else ""
            print(f"{obj['kind'].lower()}{suffix}/{obj['metadata']['name']}")
    elif form in {"", "wide"}:
        _print_table(arguments, found)
    else:
        raise KubectlError(f'error: unable to match a printer suitable for the output format "{form}"')


def _print_jsonpath(template: str, value: JSON) -> None:
    try:
        sys.stdout.write(render(template, value))
    except JsonPathError as error:
        raise KubectlError(f"error: error parsing jsonpath {template}, {error}") from None
    except JsonPathIndexError as error:
        # The real program goes on with a dump of the whole object.
        raise KubectlError(
            f'error: error executing jsonpath "{template}": Error executing template: {error}.'
        ) from None


def _print_table(arguments: Arguments, found: list[JSON]) -> None:
    if not found:
        place = (
            "" if arguments.on("all-namespaces") else f" in {arguments.flags.get('namespace', 'default')} namespace."
        )
        print(f"No resources found{place}", file=sys.stderr)
        return
    labels = [name for name in arguments.flags.get("label-columns", "").split(",") if name]
    heads = ["NAMESPACE"] if arguments.on("all-namespaces") else []
    heads += ["NAME", "AGE", *(name.rpartition("/")[2].upper() for name in labels)]
    rows = [] if arguments.on("no-headers") else [heads]
    for obj in found:
        meta = obj["metadata"]
        row = [meta.get("namespace", "")] if arguments.on("all-namespaces") else []
        rows.append([*row, meta["name"], _age(meta), *((meta.get("labels") or {}).get(name, "") for name in labels)])
    _print_columns(rows)


def _age(meta: JSON) -> str:
    """Whole days since an object was created."""
    created = datetime.fromisoformat(meta["creationTimestamp"])
    return f"{(datetime.now(UTC) - created).days}d"


def _print_columns(rows: list[list[str]]) -> None:
    """As Go's tabwriter: three spaces between columns, the last one as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        *cells, last = row
        print("".join(f"{cell:<{max(width + 3, 6)}}" for cell, width in zip(cells, widths, strict=False)) + last)


def version(arguments: Arguments, cluster: Cluster) -> int:
    """`kubectl version`."""
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
    """`kubectl auth can-i VERB RESOURCE`: the answer is the exit code too."""
    _, _, verb, resource, *_ = [*arguments.words, "", ""]
    kind = next((kind for kind in cluster.kinds() if kind.answers_to(resource)), None)
    if kind is None and resource != "*":
        print(f"Warning: the server doesn't have a resource type '{resource}'", file=sys.stderr)
    asked: JSON = {"verb": verb, "group": kind.group if kind else "", "resource": kind.plural if kind else resource}
    if not arguments.on("all-namespaces"):
        asked["namespace"] = arguments.flags.get("namespace", "default")
    review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
    body = {**review, "spec": {"resourceAttributes": asked}}
    answer = json.loads(cluster.call("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body))
    allowed = bool(answer["status"]["allowed"])
    if not arguments.on("quiet"):
        print("yes" if allowed else "no")
    return 0 if allowed else 1


def api_resources(arguments: Arguments, cluster: Cluster) -> int:
    """
    `kubectl api-resources`, as a table or `-o name`, with `--verbs`, `--namespaced` and `--api-group`.

    Like the real program, it says nothing of a group version whose backend is gone, if the server describes all groups at once.
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
        _print_columns(rows if arguments.on("no-headers") else heads + rows)
    return 0


def create(arguments: Arguments, cluster: Cluster) -> int:
    """`kubectl create --raw PATH -f -`, of which only access reviews succeed here."""
    if "raw" not in arguments.flags or arguments.flags.get("filename") != "-":
        raise KubectlError("error: this is a stand-in that can only read")
    sys.stdout.buffer.write(cluster.call(arguments.flags["raw"], body=json.load(sys.stdin)))
    return 0


def _seconds(text: str) -> float | None:
    """A duration as `--request-timeout` takes it: `30`, `30s`, `1m`; `0` is none."""
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
    """Runs one command line; returns the exit code."""
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
