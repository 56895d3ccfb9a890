"""The shell command that reads a cluster from inside."""

from __future__ import annotations

import re
import shlex

from acr_cleanup.clusters.api_server.discovery import NOT_READ
from acr_cleanup.clusters.images.helm_history import RELEASE_TYPE
from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.clusters.run_command.shell import SHELL
from acr_cleanup.core.references import RegistryHost

ACCESS = "run-command"
CALL = "run command (kubectl get)"
DIRECT = "If it persists, read the cluster with `access: direct` from a runner inside its network."
"""The second sentence of the remedies for a failed run command."""

# Between the fields of a record, because neither names nor JSON contain it. A record is one line
# that starts with a count.
FIELD = "\x1f"
_FORM_VERSION = "2"
BEGIN = re.compile(rf"acr-cleanup begin {_FORM_VERSION} (?P<sum>[0-9a-f]{{64}}) (?P<size>[0-9]+)")
END = "acr-cleanup end"
_KINDS_AT_ONCE = 20
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_PLAIN = frozenset("0123456789-")

# Keys whose text is kept in owners and statuses: `image_uses` needs it besides the text that names
# the registry. A digest alone belongs to the repository that its container names.
_KEPT = ("name", "kind", "image", "imageID")
# The fields of an object with a pod spec, after its kind, namespace and name. Only the first two
# are blanked.
FIELDS = (
    ".metadata.ownerReferences",
    ".status",
    ".metadata.labels",
    ".metadata.annotations",
    ".spec",
    ".data",
    ".template",
)

# The ends of names of variables whose values may be a part of a reference (`split_references`).
# Other values are blanked unless they name the registry.
_PARTS = (
    "tag", "tags", "digest", "digests", "sha", "256", "version", "revision", "ref", "semver", "repository", "image", "repo", "name",
    "chart", "path",
)  # fmt: skip

# Substitutes for control characters in the sed programs: the command must be plain text to pass
# through Azure.
_CONTROLS = {"%": "\x01", "~": "\x02", "!": "\x03", "<": "\x04", ">": "\x05", "@": "\x1f"}

# Both programs reduce an object that does not mention the registry to its kind and whether Helm
# manages it. `in_binary` reads the encoded data of a ConfigMap.
_COUNT = r"""
/^#/b
/^$/d
MENTIONED
/^o@v1@ConfigMap@.*"binaryData":{/s/^o/b/
/^b/b m
s/^.\(@[^@]*@[^@]*@\).*"meta\.helm\.sh\/release-name":"aks-managed-.*/c\1/
t
s/^.\(@[^@]*@[^@]*@\).*"meta\.helm\.sh\/release-name":.*/c\1helm/
t
s/^.\(@[^@]*@[^@]*@\)kube-system@.*/c\1/
t
s/^.\(@[^@]*@[^@]*@\).*"app\.kubernetes\.io\/managed-by":"Helm".*/c\1helm/
t
s/^.\(@[^@]*@[^@]*@\).*/c\1/
b
:m
"""

# managedFields contain lists only within text, so the first `]` normally ends them. If it does not,
# the rest is not JSON, and becomes a blocker.
_WHOLE = r"""
s/"managedFields":\[[^]]*}\],//
"""

# Remove the differences between replicas of a workload: their names, their nodes, and in their
# status all text that names neither the registry nor an image. None of it can be a reference. The
# first seven fields of the line, with the status, are edited first; the rest waits in the hold
# space. The escapes of JSON are replaced first (% for two backslashes, ~ for a quote in a text), so
# that every quote delimits a text. Text to keep gets other quotes (!). Of the other text, opening
# quotes (<) and closing quotes (>) are found from left to right, and a text that is not followed by
# a colon is not a key.
_BLANK = r"""
s/\\\\/%/g
s/\\"/~/g
h
s/^\(\([^@]*@\)\{7\}\).*/\1/
KEPT
s/"\([^"]*\)"/<\1>/g
s/<\([^>]*\)>:/!\1!:/g
s/<[^>]*>/!!/g
s/!restartCount!:[0-9]*/!restartCount!:0/g
s/!name!:!kube-api-access-[a-z0-9]*!/!name!:!kube-api-access!/g
y/!/"/
s/^\([^@]*@[^@]*@[^@]*@[^@]*@\)[^@]*\(@[^@]*"controller":true\)/\1\2/
x
s/^\([^@]*@\)\{7\}//
s/"name":"kube-api-access-[a-z0-9]*"/"name":"kube-api-access"/g
s/"nodeName":"[a-z0-9.-]*"/"nodeName":""/
s/"hostname":"[a-z0-9.-]*"/"hostname":""/
s/"claimName":"[a-z0-9.-]*"/"claimName":""/g
s/"key":"metadata[.]name","operator":"In","values":\["[a-z0-9.-]*"\]/"key":"","operator":"","values":[]/g
s/"\([^"]*[/]pod-name\)":"[a-z0-9.-]*"/"\1":""/
s/"\([^"]*[/]pod-index\)":"[0-9]*"/"\1":""/
s/"\([^"]*cni[^"]*\)":"[0-9a-f.:/, ]*"/"\1":""/g
x
G
s/\n//
s/~/\\"/g
s/%/\\\\/g
"""

# Blank the values of variables that cannot be a part of a reference. It runs after the replicas are
# merged, once per line.
_VALUES = r"""
/^ *[0-9]* p.*","value":"/b v
b
:v
s/\\\\/%/g
s/\\"/~/g
VALUES
s/\("name":"[^"]*","value":\)"[^"]*"/\1""/g
y/!/"/
s/~/\\"/g
s/%/\\\\/g
"""


def script(registry: RegistryHost, helm_history: int = 0) -> str:
    """
    Return the shell command for AKS to run. It only reads, and reads Secrets only if `helm_history`
    is above 0.
    """
    hosts = _hosts(registry)
    mentioned = "\n".join(f"/{host}/b m" for host in hosts)
    kept = [rf's/"\([^"]*{host}[^"]*\)"/!\1!/g' for host in hosts]
    kept += [rf's/\("{key.replace("/", "[/]").replace(".", "[.]")}":\)"\([^"]*\)"/\1!\2!/g' for key in _KEPT]
    values = [rf's/\("name":"[^"]*","value":\)"\([^"]*{host}[^"]*\)"/\1!\2!/g' for host in hosts]
    # The name of a variable may be a repository, and its value the tag.
    values += [rf's/\("name":"[^"]*{host}[^"]*","value":\)"\([^"]*\)"/\1!\2!/g' for host in hosts]
    values += [rf's/\("name":"[^"]*{_pattern(part)}[^a-zA-Z0-9"]*","value":\)"\([^"]*\)"/\1!\2!/g' for part in _PARTS]
    # A value may be a repository after a variable of the registry, and a variable may name a tag.
    values.append(r's/\("name":"[^"]*","value":\)"\([^"]*[)}][/][^"]*\)"/\1!\2!/g')
    values += [rf's/\("name":"[^"]*","value":\)"\([^"]*{_pattern(part)}[^"]*\)"/\1!\2!/g' for part in ("tag", "digest")]
    blank = _BLANK.strip().replace("KEPT", "\n".join(kept))
    count = _COUNT.strip().replace("MENTIONED", mentioned)
    groups = [name.removeprefix("*.") for name in NOT_READ if name.startswith("*.")]
    resources = [name for name in NOT_READ if not name.startswith("*.")] + [str(kind) for kind in KINDS]
    helm = f"  history secrets --field-selector=type={RELEASE_TYPE}\n  history configmaps" if helm_history > 0 else ""
    parts = {
        "CONTROLS": "".join(_CONTROLS),
        "BLANK": shlex.quote(f"{count}\n{blank}"),
        "WHOLE": shlex.quote(f"{count}\n{_WHOLE.strip()}"),
        "VALUES": shlex.quote(_VALUES.strip().replace("VALUES", "\n".join(values))),
        "FIELDS": " ".join(FIELDS),
        "KINDS": "\n".join(f'  read_batch {batch} "$p" "$pods"' for batch in _batches()),
        "EMPTIES": " ".join(f"{kind},{kind.api_version},{kind.name}" for kind in KINDS),
        "GROUPS": "|".join(groups),
        "RESOURCES": "|".join(resources),
        "AT_ONCE": str(_KINDS_AT_ONCE),
        "HELM": helm,
        "REVISIONS": str(helm_history),
        "HOSTS": " ".join(f"-e {shlex.quote(host)}" for host in hosts),
        "VERSION": _FORM_VERSION,
        "END": END,
    }
    return re.sub(r"@([A-Z_]+)@", lambda match: parts[match.group(1)], SHELL).lstrip()


def _batches() -> list[str]:
    """
    The kinds with a pod spec, listed together, except those with many objects: kubectl keeps a
    whole list in memory.
    """
    many = [str(kind) for kind in KINDS if kind.name in {"Pod", "ReplicaSet"}]
    return [*many, ",".join(str(kind) for kind in KINDS if str(kind) not in many)]


def _hosts(registry: RegistryHost) -> list[str]:
    """
    The registry's host names as sed patterns, in any case. Other characters than letters, digits,
    dashes match any.
    """
    login_server, *aliases = (host.partition(":")[0] for host in (registry.login_server, *sorted(registry.aliases)))
    name, _, suffix = login_server.partition(".")
    patterns = [_pattern(host) for host in (login_server, *aliases)]
    if suffix.lower().startswith("azurecr."):
        patterns.append(f"{_pattern(name)}[.][a-zA-Z0-9-]*[.]geo[.]{_pattern(suffix)}")
    return list(dict.fromkeys(patterns))


def _pattern(host: str) -> str:
    return "".join(
        f"[{char.lower()}{char.upper()}]"
        if char in _LETTERS
        else char
        if char in _PLAIN
        else "[.]"
        if char == "."
        else "."
        for char in host.encode().decode("latin-1")
    )
