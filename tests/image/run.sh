#!/usr/bin/env bash
# Build the image and a runner for act, and run tests/image. Uses Docker if there is one, else the
# engine in ../shared/tools, which is stopped afterwards if this script started it. With neither,
# the tests are skipped with a message. `run.sh PYTHON WORDS...` runs `python WORDS...` with the
# same engine instead.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:?the Python interpreter}
shift
[ $# -gt 0 ] || set -- -m pytest -q -m image --no-header -p no:cacheprovider tests/image
engine=../shared/tools/container-engine.sh

if ! command -v docker >/dev/null && [ -x "$engine" ] && [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ]; then
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io >/dev/null
fi
if ! command -v docker >/dev/null; then
  echo "image-test: there is no docker command."
elif docker info >/dev/null 2>&1; then
  export ACR_CLEANUP_REQUIRE_IMAGE=1
elif [ -x "$engine" ] && [ "$(id -u)" = 0 ]; then
  pid=${XDG_CACHE_HOME:-$HOME/.cache}/container-engine/svc.pid
  if ! { [ -s "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }; then trap '"$engine" stop' EXIT; fi
  DOCKER_HOST=$("$engine" start | tail -1)
  "$engine" base >/dev/null
  # Its replacement for the base image has no digest, and it has no buildx.
  export DOCKER_HOST DOCKER_BUILDKIT=0 IMAGE_TEST_BASE=docker.io/library/python:3.13-slim ACR_CLEANUP_REQUIRE_IMAGE=1
fi

"$python" "$@"
