#!/usr/bin/env bash
# Is anything that we install known to be vulnerable? And, with a token, is any action of the workflows? audit.sh BIN: where the tools are.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:?where the tools are}

# What cannot be asked is not passed: in continuous integration that is a failure, elsewhere it is said.
if ! "$bin/python" -c 'import urllib.request as u; u.urlopen("https://pypi.org/pypi/pip-audit/json", timeout=20).read(1)' 2>/dev/null; then
  echo "audit: NOTHING WAS CHECKED: https://pypi.org, which knows of vulnerabilities, cannot be reached from here."
  [ "${GITHUB_ACTIONS:-}" != true ]
  exit
fi
for lock in requirements/runtime.lock requirements/ci.lock requirements/further.lock; do
  echo "audit: $lock"
  "$bin/pip-audit" --require-hashes --disable-pip --strict --progress-spinner off --requirement "$lock"
done
if [ -n "${GH_TOKEN:-}" ]; then
  "$bin/zizmor" --quiet .github/workflows .github/dependabot.yml action.yml
  echo "audit: the workflows and their actions: ok"
else
  echo "audit: whether actions are known to be vulnerable is not asked: that needs GH_TOKEN."
fi
