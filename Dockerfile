# syntax=docker/dockerfile:1
# The image behind the GitHub action, the Azure Pipelines task and `docker run`. docs/image.md says what it is made of.

# An index of linux/amd64 and linux/arm64: Python 3.13.15 on Debian trixie. Dependabot proposes newer ones.
ARG BASE=docker.io/library/python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE} AS build
COPY requirements/runtime.lock /build/
# An environment without pip, with only what the lock names, and only where its hash is right.
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python --disable-pip-version-check --no-cache-dir \
      install --quiet --no-compile --only-binary :all: --require-hashes --no-deps -r /build/runtime.lock \
 && ln -s "$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" /build/site-packages
# What is never imported goes: 80 of 143 MB. tests/image holds it to that.
# - The Kubernetes client loads its generated API groups and models when they are named, and nothing here names one: requests to an
#   API server are paths, and their answers are decoded selectively (clusters/api.py).
# - Only `actions_toolkit.core` is used: PyGithub and PyNaCl serve `actions_toolkit.github`. Its wheel brings a package `tests`, too.
# hadolint ignore=DL3003
RUN cd /build/site-packages/ \
 && rm -rf github nacl pygithub-*.dist-info pynacl-*.dist-info tests \
 && find kubernetes/client/api kubernetes/client/models kubernetes/aio/client/api kubernetes/aio/client/models \
      -name '*.py' ! -name __init__.py -delete
# Copied, not built: a build backend would be code whose hash nobody checks.
COPY acr_cleanup /build/site-packages/acr_cleanup
# Compiled: it costs 8 MB of the 24 that are pulled, and saves 2 seconds of every run. Pygments is there for rich and never imported.
RUN /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x /pygments/ /build/site-packages/

FROM ${BASE}
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG SOURCE=https://github.com/org/acr-cleanup
LABEL org.opencontainers.image.title="acr-cleanup" \
      org.opencontainers.image.description="Deletes from an Azure container registry what is old and what no AKS cluster uses." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/venv /opt/venv
COPY entrypoint.py /app/entrypoint.py
# Neither USER nor WORKDIR: what the runner mounts belongs to others, and it sets the folder itself.
# -I: what lies in the workspace, and PYTHONPATH, must never become our code. -u: the order of the log is what happened.
ENTRYPOINT ["/opt/venv/bin/python", "-I", "-u", "/app/entrypoint.py"]
