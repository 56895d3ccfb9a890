"""
The shell program of a run command. `script` fills in its `@PLACEHOLDERS@`.

POSIX sh, and no tools except kubectl, tr, sed, grep, sort, uniq, cut, wc, sha256sum, gzip and
base64. JSONPath is limited to paths and ranges. A failed list is tried once more, and then in the
other versions of its group. One kubectl, which is slow to start, lists several kinds; if it fails,
they are listed one by one. After an empty list, the right to list is reviewed: by a plain JSON
request, otherwise by `kubectl auth can-i`.
"""

from __future__ import annotations

SHELL = r"""
LC_ALL=C; export LC_ALL
set -f
u=$(printf '\037')
controls() { printf '%s' "$1" | tr '@CONTROLS@' '\001\002\003\004\005\037'; }
pods=$(controls @BLANK@)
whole=$(controls @WHOLE@)
count=$(controls @COUNT@)
hidden=@HIDDEN@
m=$(printf '\006')
[ -s @NAMES@ ] || { echo "the file with the names of the registry did not arrive"; exit 1; }
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
  } 3>&1 | sift "$3" | sort | uniq -c
}
# The letter of an escape such as \n is no part of the word behind it. The mark is removed at the end.
named() { sed -e "s/\\\\[bfnrt]/&$m/g" | grep -i -w -F "$@" -f @NAMES@; }
# What names something is edited and printed; of the rest, the digests and the number.
sift() {
  lines=$(cat)
  printf '%s\n' "$lines" | grep '^#'
  lines=$(printf '%s\n' "$lines" | grep -v -e '^#' -e '^$')
  printf '%s\n' "$lines" | named | sed -e "$1"
  lines=$(printf '%s\n' "$lines" | named -v)
  printf '%s\n' "$lines" | grep -F -f @FOLDERS@ | sed -e "$1"
  lines=$(printf '%s\n' "$lines" | grep -v -F -f @FOLDERS@ | sed -e "$hidden")
  printf '%s\n' "$lines" | sed -n -e 's/^+//p' | sed -e "$1"
  lines=$(printf '%s\n' "$lines" | grep -v '^+')
  printf '%s\n' "$lines" | sed -e 's/"image[ID]*":"[^"]*"//g' -e 's/"containerID":"[^"]*"//g' |
    grep -o '[0-9a-f]\{64\}' | sort -u | sed -e "s/^/s$u/"
  printf '%s\n' "$lines" | sed -e "$count"
}
good() { case "$out" in *"#$u$1${u}0$u"*) return 0 ;; esac; return 1; }
print() {
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
            { t=$(cat); printf '%s\n' "$t" | named || printf '%s\n' "$t" | grep -e '\\\\[xuU]' -e '\\\\\\n'; }) &&
            printf '1 g%s%s%s%s%s%s\n' "$u" "$what" "$u" "$(printf '%s\n' "$l" | sed -e "s/$u[^$u]*\$//")" "$u" "$x"
        fi ;;
    esac
  done
  IFS=$old
}
s="{range .items[*]}{.metadata.namespace}$u{.metadata.name}$u{.type}$u{.metadata.labels}$u{.data}{\"\\n\"}{end}"
body=$(read_all | tr -d '\006')
sum=$(printf '%s' "$body" | sha256sum); size=$(printf '%s' "$body" | wc -c)
printf 'acr-cleanup begin @VERSION@ %s %s\n' "${sum%% *}" "$((size))"
printf '%s' "$body" | gzip -9 -c | base64
printf '@END@\n'
"""
