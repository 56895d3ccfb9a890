#!/usr/bin/env bash
# Check the locked dependencies for known vulnerabilities and, with GH_TOKEN, the actions of the
# workflows.
# Usage: audit.sh BIN (the folder of the tools).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:?the folder of the tools}

# Without access to PyPI nothing is checked. On GitHub that is a failure, elsewhere only a message.
# A page of one version: mirrors often serve packages, but not these pages, and then pip-audit says
# that a package does not exist.
if ! "$bin/python" -c 'import urllib.request as u; u.urlopen("https://pypi.org/pypi/pip-audit/2.9.0/json", timeout=20).read(1)' 2>/dev/null; then
  echo "audit: NOTHING WAS CHECKED: https://pypi.org, the source of known vulnerabilities, cannot be reached, or is a mirror without them."
  [ "${GITHUB_ACTIONS:-}" != true ]
  exit
fi
for lock in requirements/runtime.lock requirements/ci.lock requirements/further.lock requirements/conformance.lock; do
  echo "audit: $lock"
  "$bin/pip-audit" --require-hashes --disable-pip --strict --progress-spinner off --requirement "$lock"
done
if [ -n "${GH_TOKEN:-}" ]; then
  "$bin/zizmor" --quiet .github/workflows .github/dependabot.yml action.yml
  echo "audit: workflows and actions: ok"
else
  echo "audit: actions were not checked for known vulnerabilities: set GH_TOKEN."
fi
