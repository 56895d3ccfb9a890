"""The shell command that reads a cluster from inside."""

from __future__ import annotations

import re
import shlex

from acr_cleanup.clusters.api_server.discovery import NOT_READ
from acr_cleanup.clusters.images.helm_history import RELEASE_TYPE
from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.core.references import Registry

ACCESS = "run-command"
CALL = "run command (kubectl get)"
DIRECT = "If it persists, read the cluster with `access: direct` from a runner inside its network."
"""The second sentence of the remedies for a failed run command."""

# Between the fields of a record, because neither names nor JSON contain it. A record is one line that starts with a count.
FIELD = "\x1f"
_FORM_VERSION = "2"
BEGIN = re.compile(rf"acr-cleanup begin {_FORM_VERSION} (?P<sum>[0-9a-f]{{64}}) (?P<size>[0-9]+)")
END = "acr-cleanup end"
_KINDS_AT_ONCE = 20
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_PLAIN = frozenset("0123456789-")

# Keys whose text is kept in owners and statuses: `image_uses` needs it besides the text that names the registry. A digest
# alone belongs to the repository that its container names.
_KEPT = ("name", "kind", "image", "imageID")
# The fields of an object with a pod spec, after its kind, namespace and name. Only the first two are blanked.
FIELDS = (
    ".metadata.ownerReferences",
    ".status",
    ".metadata.labels",
    ".metadata.annotations",
    ".spec",
    ".data",
    ".template",
)

# The ends of names of variables whose values may be a part of a reference (`split_references`). Other values are blanked unless
# they name the registry.
_PARTS = (
    "tag", "tags", "digest", "digests", "sha", "256", "version", "revision", "ref", "semver", "repository", "image", "repo", "name",
    "chart", "path",
)  # fmt: skip

# Substitutes for control characters in the sed programs: the command must be plain text to pass through Azure.
_CONTROLS = {"%": "\x01", "~": "\x02", "!": "\x03", "<": "\x04", ">": "\x05", "@": "\x1f"}

# Both programs reduce an object that does not mention the registry to its kind and whether Helm manages it. `in_binary` reads
# the encoded data of a ConfigMap.
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

# managedFields contain lists only within text, so the first `]` normally ends them. If it does not, the rest is not JSON, and
# becomes a blocker.
_WHOLE = r"""
s/"managedFields":\[[^]]*}\],//
"""

# Remove the differences between replicas of a workload: their names, their nodes, and in their status all text that names neither
# the registry nor an image. None of it can be a reference. The first seven fields of the line, with the status, are edited first;
# the rest waits in the hold space.
# The escapes of JSON are replaced first (% for two backslashes, ~ for a quote in a text), so that every quote delimits a text.
# Text to keep gets other quotes (!). Of the other text, opening quotes (<) and closing quotes (>) are found from left to right,
# and a text that is not followed by a colon is not a key.
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

# Blank the values of variables that cannot be a part of a reference. It runs after the replicas are merged, once per line.
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

# POSIX sh, and no tools except kubectl, tr, sed, grep, sort, uniq, cut, wc, sha256sum, gzip and base64. JSONPath is limited to
# paths and ranges. A failed list is tried once more, and then in the other versions of its group. One kubectl, which is slow to
# start, lists several kinds; if it fails, they are listed one by one. After an empty list, the right to list is reviewed: by a
# plain JSON request, otherwise by `kubectl auth can-i`.
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
    """Return the shell command for AKS to run. It only reads, and reads Secrets only if `helm_history` is above 0."""
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
    return re.sub(r"@([A-Z_]+)@", lambda match: parts[match.group(1)], _SCRIPT).lstrip()


def _batches() -> list[str]:
    """The kinds with a pod spec, listed together, except those with many objects: kubectl keeps a whole list in memory."""
    many = [str(kind) for kind in KINDS if kind.name in {"Pod", "ReplicaSet"}]
    return [*many, ",".join(str(kind) for kind in KINDS if str(kind) not in many)]


def _hosts(registry: Registry) -> list[str]:
    """The registry's host names as sed patterns, in any case. Other characters than letters, digits, dashes match any."""
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
