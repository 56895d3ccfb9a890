#!/bin/sh
# Make action.yml use a built image instead of the Dockerfile.
# Usage: pin-image.sh ghcr.io/org/acr-cleanup@sha256:… v1.2.3
set -eu
test "$(grep -c '^  image: "Dockerfile"$' action.yml)" = 1 || { echo "action.yml must contain image: \"Dockerfile\" exactly once" >&2; exit 1; }
sed -i "s|^  image: \"Dockerfile\"\$|  image: \"docker://$1\" # $2|" action.yml
