"""
Reads a cluster through an AKS run command: for API servers that only the cluster's own network reaches.

A run command gives back what it printed, as one text of at most 512 kB that is cut without a sign. So the command prints one
compressed block between two markers, with its length and checksum, and whatever else is in the log, or is missing from it, is a
blocker.
The block holds the objects that mention our registry, in JSON, and how many others there were of each kind. From those that hold a
pod spec, what tells replicas apart is taken out and everything else stays where it was: so replicas are the same line, which
travels once, and both ways of reading a cluster find the same, in the same function and under the same field names.
What failed is in the block as well, kind by kind.
https://learn.microsoft.com/azure/aks/access-private-cluster#limitations-and-considerations
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import json
import re
import shlex
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from acr_cleanup.clusters.api_server.client import HttpAnswer
from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP, NOT_READ, DiscoveryBuilder
from acr_cleanup.clusters.api_server.pages import is_helms
from acr_cleanup.clusters.api_server.scan import (
    HELM_NOTE,
    SECRET,
    empty_list_problem,
    or_waive_it,
    rule_to_add,
    shortened,
)
from acr_cleanup.clusters.images.helm_history import RELEASE_TYPE, History
from acr_cleanup.clusters.images.pod_specs import KINDS, Findings, Kind, image_uses
from acr_cleanup.clusters.read_failure import ReadFailure
from acr_cleanup.core.references import Registry
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.quoting import quoted

ACCESS = "run-command"
CALL = "run command (kubectl get)"

# Between the fields of a record: no name and no JSON holds this. One record is one line, with a count before it.
_FIELD = "\x1f"
_VERSION = "2"
_BEGIN = re.compile(rf"acr-cleanup begin {_VERSION} (?P<sum>[0-9a-f]{{64}}) (?P<size>[0-9]+)")
_END = "acr-cleanup end"
_BASE64 = re.compile(r"[A-Za-z0-9+/=]+")
_MOST_BYTES = 256 * 1024 * 1024
_FOREIGN_LINES_QUOTED = 3
_KINDS_AT_ONCE = 20
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_PLAIN = frozenset("0123456789-")
_BUILT_IN = {(kind.api_version, kind.name): kind for kind in KINDS}

# -- the command ----------------------------------------------------------------------------------------------

# Keys whose text stays in owners and statuses: what image_uses needs beside the text that names our registry. A digest alone
# belongs to the repository that its container names.
_KEPT = ("name", "kind", "image", "imageID")
# The fields of an object with a pod spec, after its kind, namespace and name; only the first two are blanked.
_FIELDS = (
    ".metadata.ownerReferences",
    ".status",
    ".metadata.labels",
    ".metadata.annotations",
    ".spec",
    ".data",
    ".template",
)

# The ends of names of variables whose values may be a part of a reference (`neighbours`): all others are nobody's business, if they
# do not name our registry.
_PARTS = (
    "tag", "tags", "digest", "digests", "sha", "256", "version", "revision", "ref", "semver", "repository", "image", "repo", "name",
    "chart", "path",
)  # fmt: skip

# What stands for control characters in the sed programs, which are written in plain text for their way through Azure.
_CONTROLS = {"%": "\x01", "~": "\x02", "!": "\x03", "<": "\x04", ">": "\x05", "@": "\x1f"}

# Both programs turn an object that does not mention us into its kind, and whether Helm manages it. What is encoded in a ConfigMap
# is looked at by `in_binary`.
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

# managedFields hold no list but within text, so that the first `]` ends them, as a rule. Where it does not, what is left is no
# JSON, and a blocker.
_WHOLE = r"""
s/"managedFields":\[[^]]*}\],//
"""

# What tells replicas of a workload apart is taken out: their own names, where they run, and in their status all text that neither
# names our registry nor an image. None of it could be a reference. The status comes first in the line (seven fields), and the rest
# waits in the hold space.
# The escapes of JSON go first (% for two backslashes, ~ for a quote in a text), so that a quote is an end of a text. Text that
# stays gets other quotes (!); of the rest, the opening quotes (<) and the closing ones (>) are told apart from left to right, and
# what no colon follows is no key.
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

# The values of variables that can have no part in a reference: once for each line, when replicas are one.
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

# POSIX sh and no tool beyond kubectl, tr, sed, grep, sort, uniq, cut, wc, sha256sum, gzip and base64. Of JSONPath, only paths and
# ranges. A list that fails is tried once more, and then in the other versions of its group; several kinds are listed at once,
# because each kubectl takes its time to start, and one by one if that fails. An empty list is followed by a review of the right to
# list: in plain JSON, or else as kubectl has it.
_SCRIPT = r"""
LC_ALL=C; export LC_ALL
set -f
u=$(printf '\037')
controls() { printf '%s' "$1" | tr '@CONTROLS@' '\001\002\003\004\005\037'; }
pods=$(controls @BLANK@)
whole=$(controls @WHOLE@)
values=$(controls @VALUES@)
h="{.apiVersion}$u{.kind}$u{.metadata.namespace}$u"
p="{range .items[*]}p$u$h{.metadata.name}"
for f in @FIELDS@; do p="$p$u{$f}"; done
p="$p{\"\\n\"}{end}"
o="{range .items[*]}o$u$h{@}{\"\\n\"}{end}"
seen=' '; failed=' '; groups=
k() { kubectl --request-timeout=60s "$@"; }
line() { printf '%s' "$1" | tr -s '\001-\037' ' ' | cut -c1-"${2:-500}"; }
ended() { printf '\n#%s%s%s%s%s%s\n' "$u" "$1" "$u" "$2" "$u" "$(line "$3")"; }
list() {
  {
    if e=$(k get "$1" -A -o "jsonpath=$2" 2>&1 >&3); then ended "$4" 0; else ended "$4" 1 "$e"; fi
  } 3>&1 | sed -e "$3" | sort | uniq -c | sed -e "$values"
}
good() { case "$out" in *"#$u$1${u}0$u"*) return 0 ;; esac; return 1; }
in_binary() {
  for x in $(printf '%s' "$1" | sed -e 's/.*"binaryData":{\([^}]*\)}.*/\1/' | tr ',' ' '); do
    x=${x#*:\"}; x=${x%\"}
    printf '%s' "$x" | base64 -d 2>/dev/null | grep -iq @HOSTS@ && return 0
    printf '%s' "$x" | base64 -d 2>/dev/null | gzip -dc 2>/dev/null | grep -iq @HOSTS@ && return 0
  done
  return 1
}
look_into_binaries() {
  case "$out" in *" b$u"*) ;; *) return 0 ;; esac
  old=$IFS; IFS='
'
  out=$(for l in $out; do
    IFS=$old
    case "$l" in
      *" b$u"*) if in_binary "$l"; then printf '%s\n' "$l" | sed -e "s/ b$u/ o$u/"; else echo "1 c${u}v1${u}ConfigMap$u"; fi ;;
      *) printf '%s\n' "$l" ;;
    esac
  done)
  IFS=$old
}
print() {
  look_into_binaries
  seen="$seen$(printf '%s\n' "$out" |
    sed -n -e "s/^ *[0-9]* [cop]$u\([^$u]*\)$u\([^$u]*\).*/\1,\2/p" | sort -u | tr '\n' ' ')"
  printf '%s\n' "$out"
}
read_one() {
  out=$(list "$1" "$2" "$3" "$1")
  if ! good "$1"; then
    case "$out" in
      *Forbidden*|*Unauthorized*|*"the server doesn't have a resource type"*) ;;
      *)
        first=$out; out=$(list "$1" "$2" "$3" "$1")
        case "$1" in *.*) for v in $groups; do
          case "$v" in */"${1#*.}") good "$1" || out=$(list "${1%%.*}.${v%%/*}.${1#*.}" "$2" "$3" "$1") ;; esac
        done ;; esac
        good "$1" || out=$first ;;
    esac
    good "$1" || failed="$failed$1 "
  fi
  print
}
read_batch() {
  [ -n "$1" ] || return 0
  case "$1" in *,*) ;; *) read_one "$@"; return 0 ;; esac
  out=$(list "$1" "$2" "$3" "$1")
  if good "$1"; then print; return 0; fi
  for r in $(printf '%s' "$1" | tr , ' '); do read_one "$r" "$2" "$3"; done
}
review() {
  printf '%s' '{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview",' \
    "\"spec\":{\"resourceAttributes\":{\"group\":\"$1\",\"resource\":\"$2\",\"verb\":\"list\"}}}" |
    k create --raw /apis/authorization.k8s.io/v1/selfsubjectaccessreviews -f - 2>&1
}
may_all=
empty() {
  case "$seen" in *" $2,$3 "*) return 0 ;; esac
  case "$failed" in *" $1 "*) return 0 ;; esac
  case "$2" in */*) g=${2%/*} ;; *) g= ;; esac
  if [ -z "$may_all" ]; then
    may_all=$(review '*' '*') || may_all=none
    printf '1 v%s*%s%s\n' "$u" "$u" "$(line "$may_all" 2000)"
  fi
  case "$may_all" in *'"allowed":true'*) return 0 ;; esac
  a=$(review "$g" "${1%%.*}") || a=$(k auth can-i list "$1" -A 2>&1) || :
  printf '1 v%s%s%s%s\n' "$u" "$1" "$u" "$(line "$a" 2000)"
}
discover() {
  if e=$(k api-resources --verbs=list --no-headers 2>&1 >&3); then ended api-resources 0; else ended api-resources 1 "$e"; fi
}
read_all() {
  table=$({ discover; } 3>&1)
  table=$(printf '%s\n' "$table" |
    sed -e '/^$/d' -e '/^#/b' \
      -e "s/^\([^ ][^ ]*\) .* \([^ ][^ ]*\)  *[a-z][a-z]*  *\([^ ][^ ]*\) *$/r$u\1$u\2$u\3/" -e t -e "s/^/x$u/")
  printf '%s\n' "$table" | sed -e 's/^/1 /'
  versions=" $(printf '%s\n' "$table" | sed -n -e "s/^r$u[^$u]*$u\([^$u]*\)$u.*/\1/p" | sort -u | tr '\n' ' ')"
  if e=$(k get --raw /apis 2>&1); then
    for v in $(printf '%s' "$e" | tr ',{' '\n\n' | sed -n -e 's/^"groupVersion":"\([^"]*\)".*/\1/p' | sort -u); do
      groups="$groups ${v#*/}/${v%/*}"
      case "${v%/*}" in @GROUPS@) continue ;; esac
      case "$versions" in *" $v "*) continue ;; esac
      if e=$(k get --raw "/apis/$v" 2>&1); then a=0; else a=1; fi
      printf '1 d%s%s%s%s%s%s\n' "$u" "$v" "$u" "$a" "$u" "$(line "$e" 100000)"
    done
    printf '1 #%s/apis%s%s%s\n' "$u" "$u" "$((${#groups} == 0))" "$u"
  else
    printf '1 #%s/apis%s1%s%s\n' "$u" "$u" "$u" "$(line "$e")"
  fi
@KINDS@
  batch=; n=0; further=
  for r in configmaps,v1,ConfigMap $(printf '%s\n' "$table" | sed -n -e "s/^r$u\([^$u]*\)$u\([^$u]*\)$u\(.*\)/\1,\2,\3/p"); do
    name=${r%%,*}; v=${r#*,}; v=${v%,*}; g=${v%/*}; [ "$g" != "$v" ] || g=
    case "$g" in @GROUPS@) continue ;; esac
    id=$name${g:+.$g}
    case "$id" in @RESOURCES@) continue ;; esac
    case " $further " in *" $id,$v,${r##*,} "*) continue ;; esac
    further="$further $id,$v,${r##*,}"
    batch=$batch${batch:+,}$id; n=$((n + 1))
    [ "$n" -lt @AT_ONCE@ ] || { read_batch "$batch" "$o" "$whole"; batch=; n=0; }
  done
  read_batch "$batch" "$o" "$whole"
  for r in @EMPTIES@ $further; do
    v=${r#*,}; empty "${r%%,*}" "${v%,*}" "${r##*,}"
  done
@HELM@
}
history() {
  t=$({
    if e=$(k get "$1" -A -l owner=helm $2 --no-headers -L name,version,status 2>&1 >&3)
    then ended "helm:$1" 0; else ended "helm:$1" 1 "$e"; fi
  } 3>&1)
  printf '%s\n' "$t" | sed -n -e 's/^#/1 #/p'
  rows=$(printf '%s\n' "$t" | sed -e '/^#/d' -e '/^$/d' \
    -e 's/^\([^ ]*\)  *\([^ ]*\) .* \([^ ][^ ]*\)  *\([0-9][0-9]*\)  *\([a-z][a-z-]*\) *$/\1,\3,\4,\5,\2/' -e t \
    -e 's/^\([^ ]*\)  *\([^ ]*\) .*/\1,,,,\2/' | sort -t , -k 1,1 -k 2,2 -k 3,3nr)
  last=; count=0
  for r in $rows; do
    count=$((count + 1))
    case "$r" in
      *,,,,*) fetch "$1" "${r%%,*}" "--field-selector=metadata.name=${r##*,}" ;;
      *)
        release=${r%,*,*,*}; v=${r#"$release",}; v=${v%%,*}
        if [ "$release" != "$last" ]; then fetch_release "$1"; last=$release; n=0; fi
        n=$((n + 1))
        case "$r" in *,deployed,*) ;; *) [ "$n" -le @REVISIONS@ ] || continue ;; esac
        chosen=$chosen${chosen:+,}$v ;;
    esac
  done
  fetch_release "$1"
  if [ "$count" = 0 ]; then empty "$1" v1 helm; else printf '%s c%sv1%shelm:%s%s\n' "$count" "$u" "$u" "$1" "$u"; fi
}
chosen=
fetch_release() {
  [ -z "$chosen" ] || fetch "$1" "${last%%,*}" "-l" "owner=helm,name=${last#*,},version in ($chosen)"
  chosen=
}
fetch() {
  what=$1; ns=$2; shift 2
  t=$({
    if e=$(k get "$what" -n "$ns" "$@" -o "jsonpath=$s" 2>&1 >&3); then :; else ended "helm:$what" 1 "$e"; fi
  } 3>&1)
  old=$IFS; IFS='
'
  for l in $t; do
    IFS=$old
    case "$l" in
      '#'*) printf '1 %s\n' "$l" ;;
      *)
        x=$(printf '%s\n' "$l" | sed -n -e "s/.*$u{\"release\":\"\([A-Za-z0-9+\/=]*\)\"}\$/\1/p" | base64 -d 2>/dev/null |
          case "$what" in secrets) base64 -d 2>/dev/null ;; *) cat ;; esac | gzip -dc 2>/dev/null) || x=
        if [ -z "$x" ]; then
          printf '1 h%s%s%s%s\n' "$u" "$what" "$u" "$l"
        else
          x=$(printf '%s' "$x" | tr '\001-\037' ' ' | sed -e 's/"data":"[A-Za-z0-9+\/=]*"/"data":""/g' |
            grep -i @HOSTS@ -e '\\\\[xuU]' -e '\\\\\\n') &&
            printf '1 g%s%s%s%s%s%s\n' "$u" "$what" "$u" "$(printf '%s\n' "$l" | sed -e "s/$u[^$u]*\$//")" "$u" "$x"
        fi ;;
    esac
  done
  IFS=$old
}
s="{range .items[*]}{.metadata.namespace}$u{.metadata.name}$u{.type}$u{.metadata.labels}$u{.data}{\"\\n\"}{end}"
body=$(read_all)
sum=$(printf '%s' "$body" | sha256sum); size=$(printf '%s' "$body" | wc -c)
printf 'acr-cleanup begin @VERSION@ %s %s\n' "${sum%% *}" "$((size))"
printf '%s' "$body" | gzip -9 -c | base64
printf '@END@\n'
"""


def script(registry: Registry, helm_history: int = 0) -> str:
    """The command that AKS is asked to run. It reads, and nothing else; Secrets only if Helm's history is asked for."""
    hosts = _hosts(registry)
    mentioned = "\n".join(f"/{host}/b m" for host in hosts)
    kept = [rf's/"\([^"]*{host}[^"]*\)"/!\1!/g' for host in hosts]
    kept += [rf's/\("{key.replace("/", "[/]").replace(".", "[.]")}":\)"\([^"]*\)"/\1!\2!/g' for key in _KEPT]
    values = [rf's/\("name":"[^"]*","value":\)"\([^"]*{host}[^"]*\)"/\1!\2!/g' for host in hosts]
    # A name may be a repository itself, and its value the tag.
    values += [rf's/\("name":"[^"]*{host}[^"]*","value":\)"\([^"]*\)"/\1!\2!/g' for host in hosts]
    values += [rf's/\("name":"[^"]*{_pattern(part)}[^a-zA-Z0-9"]*","value":\)"\([^"]*\)"/\1!\2!/g' for part in _PARTS]
    # A variable of the registry before a repository, and what names a tag.
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
        "FIELDS": " ".join(_FIELDS),
        "KINDS": "\n".join(f'  read_batch {batch} "$p" "$pods"' for batch in _batches()),
        "EMPTIES": " ".join(f"{kind},{kind.api_version},{kind.name}" for kind in KINDS),
        "GROUPS": "|".join(groups),
        "RESOURCES": "|".join(resources),
        "AT_ONCE": str(_KINDS_AT_ONCE),
        "HELM": helm,
        "REVISIONS": str(helm_history),
        "HOSTS": " ".join(f"-e {shlex.quote(host)}" for host in hosts),
        "VERSION": _VERSION,
        "END": _END,
    }
    return re.sub(r"@([A-Z_]+)@", lambda match: parts[match.group(1)], _SCRIPT).lstrip()


def _batches() -> list[str]:
    """The kinds with a pod spec, listed together but for those of which there are many objects: kubectl holds a list in memory."""
    many = [str(kind) for kind in KINDS if kind.name in {"Pod", "ReplicaSet"}]
    return [*many, ",".join(str(kind) for kind in KINDS if str(kind) not in many)]


def _hosts(registry: Registry) -> list[str]:
    """Our host names as patterns of sed, in any case. What is no letter, digit or dash becomes any character."""
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


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What ARM says of a finished run command. `state` is its provisioningState, `reason` why it did not run."""

    state: str
    exit_code: int | None
    logs: str
    reason: str = ""


# -- its log --------------------------------------------------------------------------------------------------


def read_result(result: CommandResult, cluster: str, registry: Registry, helm_history: int = 0) -> ClusterScan:
    """
    What a finished run command found. Never raises: whatever is wrong with it is a blocker.

    Uses found in a block that is whole count even if something else failed: they are uses all the same.
    """
    log = _split(result.logs)
    reading = _Reading(cluster, registry, helm_history)
    problems = list(_problems(result, log))
    try:
        body = _body(log)
        if body is not None:
            for line in body.split("\n"):
                reading.take(line)
            problems += list(reading.problems(whole=not problems))
    except ReadFailure as unread:
        problems.append(unread)
    found = reading.findings()
    for problem in problems:
        found.blockers[problem.blocker(cluster)] = None
    return ClusterScan(
        cluster, tuple(found.uses), tuple(found.blockers), ACCESS, reading.objects, notes=tuple(reading.notes())
    )


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


def _problems(result: CommandResult, log: _Log) -> Iterator[ReadFailure]:
    if result.state.lower() != "succeeded":
        why = f": {quoted(result.reason)}" if result.reason else ""
        yield ReadFailure(
            CALL, f"AKS did not run it: {quoted(result.state, 40) or 'no state'}{why}.", f"Run it again. {_DIRECT}"
        )
        return
    lines = "; ".join(quoted(line) for line in log.foreign[:_FOREIGN_LINES_QUOTED])
    if result.exit_code != 0:
        yield ReadFailure(
            CALL,
            f"it ended with exit code {result.exit_code}{f': {lines}' if lines else ''}.",
            f"Mend what the lines complain of. {_DIRECT}",
        )
    elif log.foreign:
        yield ReadFailure(
            CALL,
            f"its log holds lines that are not its result: {lines}.",
            f"Mend what the lines complain of. {_DIRECT}",
        )
    if not result.logs.strip():
        yield ReadFailure(CALL, "its log is empty.", f"Run it again. {_DIRECT}")
    elif len(log.begins) == 1 and log.ends == 0:
        yield ReadFailure(
            CALL,
            f"its log is cut: it stops after {log.size // 1024} kB, before its end marker (AKS keeps 512 kB).",
            "This cluster is too large for a run command: use `access: direct` from a runner inside its network, or let that "
            "runner write a usage snapshot (`acr-cleanup collect`) that stands in for the cluster here.",
        )
    elif (len(log.begins), log.ends) != (1, 1):
        seen = "its log has not exactly one start and one end marker: part of it is missing."
        yield ReadFailure(CALL, seen, f"Run it again. {_DIRECT}")


def _body(log: _Log) -> str | None:
    """What was printed between the markers, None where they are not whole; raises `ReadFailure` if it is not what was sent."""
    if (len(log.begins), log.ends) != (1, 1):
        return None
    marker = _BEGIN.fullmatch(log.begins[0])
    damaged = ReadFailure(
        CALL, "its result was damaged on the way: length or checksum differ.", f"Run it again. {_DIRECT}"
    )
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


# -- its records ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    """Takes the records of a block, one by one."""

    cluster: str
    registry: Registry
    helm_history: int
    objects: int = 0
    found: Findings = field(default_factory=Findings)
    # By resource as kubectl names it: what its list ended with, empty if all is well.
    _ended: dict[str, str] = field(default_factory=dict)
    _reviews: dict[str, str] = field(default_factory=dict)
    _counts: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    _served: dict[str, Kind] = field(default_factory=dict)
    # Group versions that hold nothing that kubectl knows of -> whether it failed, and what the server says of them.
    _versions: dict[str, tuple[bool, str]] = field(default_factory=dict)
    _odd: list[ReadFailure] = field(default_factory=list)
    _helm_seen: bool = False
    _history: History | None = None

    def __post_init__(self) -> None:
        self._served[str(CONFIG_MAP)] = CONFIG_MAP
        if self.helm_history > 0:
            self._history = History(self.helm_history, self.cluster, self.registry)

    def take(self, line: str) -> None:
        """One line of the block. One that is no record is a problem of its own."""
        if not line.strip(" "):
            return
        count, _, record = line.strip(" ").partition(" ")
        tag, *fields = record.split(_FIELD)
        try:
            self._record(int(count), tag, fields)
        except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError):  # also JSON that is none
            self._odd.append(
                ReadFailure(
                    CALL, f"its result holds a record that cannot be read: {quoted(line)}.", f"Run it again. {_DIRECT}"
                )
            )

    def _record(self, count: int, tag: str, fields: list[str]) -> None:
        match tag, fields:
            case "c", [api_version, kind, helm]:
                self._count(api_version, kind, count)
                self._helm_seen |= helm == "helm"
            case "o", [api_version, kind, _, text]:
                self._count(api_version, kind, count)
                self._object(self._kind(api_version, kind), _decoded(text))
            case "p", [api_version, kind, namespace, name, *parts] if len(parts) == len(_FIELDS):
                self._count(api_version, kind, count)
                self._object(_BUILT_IN[api_version, kind], _assembled(namespace, name, parts))
            case "#", [resources, code, text]:
                for resource in resources.split(","):
                    failed = "" if code == "0" else text or "it failed without a word"
                    # A failure is never taken back.
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
                self._of_discovery(tag, fields)

    def _of_discovery(self, tag: str, fields: list[str]) -> None:
        match tag, fields:
            case "r", [name, api_version, kind] if name and api_version and kind:
                group, _, version = api_version.rpartition("/")
                served = Kind(kind, name, group, always_served=False, version=version)
                self._served.setdefault(str(served), served)
            case "x", [text]:
                self._odd.append(
                    ReadFailure("asking what the API server serves", f"kubectl says {quoted(text)!r}.", _DIRECT)
                )
            case "d", [group_version, code, text]:
                self._versions[group_version] = code != "0", text
            case _:
                raise ValueError("no record")

    def _count(self, api_version: str, kind: str, count: int) -> None:
        self._counts[api_version, kind] += count
        self.objects += count

    def _kind(self, api_version: str, name: str) -> Kind:
        group, _, version = api_version.rpartition("/")
        same = (kind for kind in self._served.values() if (kind.group, kind.name) == (group, name))
        return next(same, Kind(name, name.lower(), group, always_served=False, version=version))

    def _object(self, kind: Kind, obj: Any) -> None:
        if not isinstance(obj, dict):
            raise TypeError("no object")
        self.found.add(image_uses(obj, kind, self.cluster, self.registry))
        if not self._helm_seen:
            metadata = json.dumps({"metadata": obj.get("metadata")}).encode()
            self._helm_seen = is_helms(metadata, [msgspec.Raw(metadata)])

    def findings(self) -> Findings:
        if self._history is not None:
            self.found.add(self._history.findings())
        return self.found

    def notes(self) -> Iterator[str]:
        yield from shortened(self.found.notes)
        if self._helm_seen and self._history is None:
            yield HELM_NOTE

    # -- what is missing ---------------------------------------------------------------------------------------

    def problems(self, *, whole: bool) -> Iterator[ReadFailure]:
        """What was not read, by kind. `whole` says that nothing else is wrong with the log, so that nothing may be missing."""
        yield from self._odd
        further = [kind for name, kind in sorted(self._served.items()) if not _is_excluded(name)]
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
                remedy = or_waive_it(kind, self.cluster, f"Run it again. {_DIRECT}")
                yield ReadFailure(call, "the run command's result does not cover them.", remedy, kind=resource)
        elif "(Unauthorized)" in seen:
            remedy = "Check that the identity, its tenant and the cluster belong together, and that the login has not expired."
            yield ReadFailure("logging in to the API server", quoted(seen), remedy)
        elif "(Forbidden)" in seen:
            yield ReadFailure(call, quoted(seen), rule_to_add(kind, self.cluster), kind=resource)
        elif seen and (
            kind.always_served or str(kind) in self._served or "the server doesn't have a resource type" not in seen
        ):
            yield ReadFailure(
                call, quoted(seen), or_waive_it(kind, self.cluster, f"Run again. {_DIRECT}"), kind=resource
            )
        elif not seen and not self._has_some(kind, key):
            # A right to list everything is the right to list each kind.
            reviews = [self._reviews[name] for name in ("*", str(kind)) if name in self._reviews] or [""]
            problems = [empty_list_problem(kind, _reviewed(review), self.cluster) for review in reviews]
            if None not in problems and (problem := problems[-1]) is not None:
                yield problem

    def _has_some(self, kind: Kind, key: str) -> bool:
        """Were there any objects, in whichever version of the kind?"""
        name = kind.name if key == str(kind) else key
        return any(other == name and _group(api_version) == kind.group for api_version, other in self._counts)

    def _discovery_problems(self, *, whole: bool) -> Iterator[ReadFailure]:
        call = "asking what the API server serves"
        for key in ("api-resources", "/apis"):
            seen = self._ended.get(key)
            if seen is None and whole:
                yield ReadFailure(call, "the run command's result does not say.", f"Run it again. {_DIRECT}")
            elif seen and key == "/apis" and "(NotFound)" not in seen:
                yield ReadFailure(f"{call} (/apis)", quoted(seen), f"Run it again. {_DIRECT}")
            elif seen and key == "api-resources" and str(KINDS[0]) not in self._served:
                # What else it could not tell of is looked at group version by group version.
                yield ReadFailure(call, quoted(seen), f"Run it again. {_DIRECT}")
        for group_version, (failed, text) in self._versions.items():
            if failed:
                yield dead_version(group_version, quoted(text), self.cluster)
            else:
                yield from self._late(group_version, text)

    def _late(self, group_version: str, text: str) -> Iterator[ReadFailure]:
        """A group version in which kubectl found nothing to list: does the server agree?"""
        group = group_version.rpartition("/")[0]
        try:
            described = msgspec.json.decode(text, type=_ResourceList)
        except (msgspec.DecodeError, RecursionError):
            yield dead_version(group_version, f"no description of its resources: {quoted(text, 80)}", self.cluster)
            return
        for each in described.resources or ():
            name = f"{each.name}.{group}"
            if "list" in (each.verbs or ()) and "/" not in each.name and name not in self._served:
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


def _is_excluded(resource: str) -> bool:
    group = resource.partition(".")[2]
    return resource in NOT_READ or f"*.{group}" in NOT_READ or resource in map(str, KINDS)


def dead_version(group_version: str, seen: str, cluster: str) -> ReadFailure:
    findings = DiscoveryBuilder(cluster)
    group, _, version = group_version.rpartition("/")
    findings.dead(group, version, ReadFailure("", seen, ""))
    return findings.unread[0]


def _assembled(namespace: str, name: str, parts: Iterable[str]) -> dict[str, Any]:
    """An object with a pod spec, from its fields: each in JSON, empty if there is none."""
    owners, status, labels, annotations, *others = map(_decoded, parts)
    metadata = {
        "namespace": namespace,
        "name": name,
        "ownerReferences": owners,
        "labels": labels,
        "annotations": annotations,
    }
    obj = {"metadata": metadata, "status": status}
    keys = [each.removeprefix(".") for each in _FIELDS[4:]]
    return obj | {key: value for key, value in zip(keys, others, strict=True) if value is not None}


def _decoded(text: str) -> Any:
    """JSON, or nothing at all where kubectl found nothing."""
    return msgspec.json.decode(text) if text else None


def _packed(release: str, resource: str) -> str:
    """A release as Helm stores it, and the API server wraps it."""
    data = base64.b64encode(gzip.compress(release.encode(), 1))
    return (base64.b64encode(data) if resource == str(SECRET) else data).decode()


def _reviewed(text: str) -> HttpAnswer:
    """What kubectl printed of a review, as the answer of the API server that it stands for."""
    if "(NotFound)" in text or "(MethodNotAllowed)" in text:
        return HttpAnswer(404, text.encode())
    plain = {"yes": True, "no": False}.get(text.strip().partition(" ")[0])
    return HttpAnswer(201, json.dumps({"status": {"allowed": plain}}).encode() if plain is not None else text.encode())
