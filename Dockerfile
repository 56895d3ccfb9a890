# syntax=docker/dockerfile:1
# The image of the GitHub action, the Azure Pipelines task and `docker run`. docs/image.md describes
# its contents.

# An index of linux/amd64 and linux/arm64: Python 3.13.15 on Debian trixie. Dependabot proposes
# newer ones.
ARG BASE=docker.io/library/python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE} AS build
COPY requirements/runtime.lock /build/
# An environment without pip, with only the packages in the lock file, each checked by its hash.
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python --disable-pip-version-check --no-cache-dir \
      install --quiet --no-compile --only-binary :all: --require-hashes --no-deps -r /build/runtime.lock \
 && ln -s "$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" /build/site-packages
# Delete modules that are never imported: 80 of 143 MB. tests/image checks that the rest is enough.
# - The Kubernetes client loads its generated API groups and models only on use, and we use none: we
#   send requests by path and decode the answers selectively (clusters/api_server/client.py).
# - We use only `actions_toolkit.core`. PyGithub and PyNaCl are for `actions_toolkit.github`. Its
#   wheel also has a package `tests`.
# hadolint ignore=DL3003
RUN cd /build/site-packages/ \
 && rm -rf github nacl pygithub-*.dist-info pynacl-*.dist-info tests \
 && find kubernetes/client/api kubernetes/client/models kubernetes/aio/client/api kubernetes/aio/client/models \
      -name '*.py' ! -name __init__.py -delete
# Copied, not built: the hash of a build backend would not be checked.
COPY acr_cleanup /build/site-packages/acr_cleanup
# action.yml starts it as a program, also if a checkout or an archive has lost its mode.
COPY entrypoint.py /build/app/entrypoint.py
# Compiled: this adds 8 MB to a download of 24 MB and saves 2 seconds in every run. Pygments is for
# rich and is never imported.
RUN chmod 755 /build/app/entrypoint.py \
 && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x /pygments/ /build/site-packages/
# `--version` prints it. Last, so that another commit leaves the layers above as they are.
ARG REVISION=unknown
RUN if [ "${REVISION}" != unknown ]; then printf '%s\n' "${REVISION}" > /build/site-packages/acr_cleanup/COMMIT; fi

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
COPY --from=build /build/app /app
# glibc then gives large blocks back to the system when they are free, and keeps one heap, not one for
# each thread: a fifth less memory for a repository of 200,000 tags.
# https://man7.org/linux/man-pages/man3/mallopt.3.html
ENV MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=262144
# No USER and no WORKDIR: the mounted workspace belongs to another user, and the runner sets the
# folder. -I: modules in the workspace or on PYTHONPATH must never be imported. -u: unbuffered, so
# that log lines keep their order.
ENTRYPOINT ["/opt/venv/bin/python", "-I", "-u", "/app/entrypoint.py"]
