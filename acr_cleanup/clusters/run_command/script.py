"""The shell command that reads a cluster from inside."""

from __future__ import annotations

import base64
import io
import re
import shlex
import zipfile

from acr_cleanup.clusters.api_server.discovery import NOT_READ
from acr_cleanup.clusters.images.helm_history import RELEASE_TYPE
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.object_texts import SECRET_WORDS
from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.clusters.images.workload_texts import PARTS
from acr_cleanup.clusters.run_command.shell import SHELL
from acr_cleanup.clusters.target import Search
from acr_cleanup.core.references import RegistryHost

ACCESS = "run-command"
CALL = "run command (kubectl get)"
DIRECT = "If it persists, read the cluster with `access: direct` from a runner inside its network."
"""The second sentence of the remedies for a failed run command."""

# Between the fields of a record, because neither names nor JSON contain it. A record is one line
# that starts with a count.
FIELD = "\x1f"
_FORM_VERSION = "3"
BEGIN = re.compile(rf"acr-cleanup begin {_FORM_VERSION} (?P<sum>[0-9a-f]{{64}}) (?P<size>[0-9]+)")
END = "acr-cleanup end"
_KINDS_AT_ONCE = 20
NAMES_FILE, FOLDERS_FILE = "names", "folders"
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
    *(f".{part}" for part in PARTS),
)

# Substitutes for control characters in the sed programs: the command must be plain text to pass
# through Azure.
_CONTROLS = {"%": "\x01", "~": "\x02", "!": "\x03", "<": "\x04", ">": "\x05", "@": "\x1f"}

# Reduce an object that names nothing of the registry to its kind and whether Helm manages it.
_COUNT = r"""
/^$/d
s/^.\(@[^@]*@[^@]*@\).*"meta\.helm\.sh\/release-name":"aks-managed-.*/c\1/
t
s/^.\(@[^@]*@[^@]*@\).*"meta\.helm\.sh\/release-name":.*/c\1helm/
t
s/^.\(@[^@]*@[^@]*@\)kube-system@.*/c\1/
t
s/^.\(@[^@]*@[^@]*@\).*"app\.kubernetes\.io\/managed-by":"Helm".*/c\1helm/
t
s/^.\(@[^@]*@[^@]*@\).*/c\1/
"""

# Mark the objects in which a name may hide: in escapes, and in base64 that is neither a digest nor
# a certificate (which begins with `MI`). Short base64 is a whole text, and no words in CamelCase.
_HIDDEN = r"""
h
s/[0-9a-f]\{40,\}//g
s/BEGIN CERTIFICATE-----\\nMI[^"]*END CERTIFICATE//g
s/:"[A-Z][a-z]\{1,\}\([A-Z][a-z]\{1,\}\)*"/:0/g
/\\u00/b m
/\\x[0-9a-f]/b m
/%2[fF]/b m
/"binaryData":{/b m
/base64,/b m
/[A-Za-z0-9+\/]\{40\}/b m
/"[A-Za-z0-9+\/]\{20,\}"[^:]/b m
/"[A-Za-z0-9+\/]\{10,\}=\{1,2\}"/b m
g
b
:m
g
s/^/+/
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
# that every quote delimits a text. Text to keep gets other quotes (!). All other quotes are replaced
# from left to right by opening (<) and closing (>) ones. A text that no colon follows is not a key.
_BLANK = r"""
s/\\\\/%/g
s/\\"/~/g
h
s/^\(\([^@]*@\)\{7\}\).*/\1/
KEPT
s/"\([^"]*\)"/<\1>/g
s/<\([^>]*\)>:/!\1!:/g
s/<[^>]*>/!!/g
s/!restartCount!:[0-9][0-9]*/!restartCount!:0/g
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

# Blank the values of variables that are called like a secret, unless they may be a path of an image.
_VALUES = r"""
s/\\\\/%/g
s/\\"/~/g
SECRETS
s/~/\\"/g
s/%/\\\\/g
"""


def script(search: Search) -> str:
    """
    Return the shell command for AKS to run. It only reads, and reads Secrets only if `helm_history`
    is above 0.
    """
    helm_history = search.helm_history
    hosts = _hosts(search.registry)
    # Not beyond a text that another host name has kept already.
    kept = [rf's/"\([^"!]*{host}[^"!]*\)"/!\1!/g' for host in hosts]
    kept += [rf's/\("{key.replace("/", "[/]").replace(".", "[.]")}":\)"\([^"]*\)"/\1!\2!/g' for key in _KEPT]
    secrets = [rf's/\("name":"[^"]*{_pattern(word)}[^"]*","value":\)"[^"/]*"/\1""/g' for word in SECRET_WORDS]
    blank = _BLANK.strip().replace("KEPT", "\n".join(kept))
    values = _VALUES.strip().replace("SECRETS", "\n".join(secrets))
    left_out = [*NOT_READ, *sorted(search.ignore_kinds)]
    groups = [name.removeprefix("*.") for name in left_out if name.startswith("*.")]
    resources = [name for name in left_out if not name.startswith("*.")] + [str(kind) for kind in KINDS]
    helm = f"  history secrets --field-selector=type={RELEASE_TYPE}\n  history configmaps" if helm_history > 0 else ""
    parts = {
        "CONTROLS": "".join(_CONTROLS),
        "BLANK": shlex.quote(f"{blank}\n{values}"),
        "WHOLE": shlex.quote(_WHOLE.strip()),
        "COUNT": shlex.quote(_COUNT.strip()),
        "HIDDEN": shlex.quote(_HIDDEN.strip()),
        "FIELDS": " ".join(FIELDS),
        "KINDS": "\n".join(f'  read_batch {batch} "$p" "$pods"' for batch in _batches()),
        "EMPTIES": " ".join(f"{kind},{kind.api_version},{kind.name}" for kind in KINDS),
        "GROUPS": "|".join(groups),
        "RESOURCES": "|".join(resources),
        "AT_ONCE": str(_KINDS_AT_ONCE),
        "HELM": helm,
        "REVISIONS": str(helm_history),
        "NAMES": NAMES_FILE,
        "FOLDERS": FOLDERS_FILE,
        "VERSION": _FORM_VERSION,
        "END": END,
    }
    return re.sub(r"@([A-Z_]+)@", lambda match: parts[match.group(1)], SHELL).lstrip()


def context(names: Names) -> str:
    """
    Return the attachment of the command, a zip file in base64: the words of which one is in every
    object that names something of the registry, one a line; and the folders of repositories.
    """
    words = {end.decode() for end in names.lasts if not end.endswith(b".")}
    folders = {f"/{folder.rpartition('/')[2]}" for folder in names.folders}
    hosts = [host.partition(":")[0] for host in (names.registry.login_server, *names.registry.aliases)]
    _, _, suffix = hosts[0].partition(".")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for file_name, lines in ((NAMES_FILE, {*words, *hosts, f"geo.{suffix}"}), (FOLDERS_FILE, folders)):
            archive.writestr(file_name, "".join(f"{line}\n" for line in sorted(lines) if line.isprintable()))
    return base64.b64encode(file.getvalue()).decode()


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
