# A runner for act: a shell, node and git. GitHub's own image is 20 GB larger.
ARG BASE=docker.io/library/python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends nodejs git jq sudo \
 && rm -rf /var/lib/apt/lists/*
