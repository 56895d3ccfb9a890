"""The media types of manifests and image configurations, by what a manifest of the type may refer to."""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
INDEX_MEDIA_TYPES = frozenset(
    {
        OCI_INDEX,
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)

DOCKER_IMAGES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
# Kinds of artifacts that may have a subject, but no children. So may an OCI image.
OCI_ARTIFACTS = frozenset(
    {
        "application/vnd.oci.artifact.manifest.v1+json",
        "application/vnd.cncf.oras.artifact.manifest.v1+json",
    }
)
UNDERSTOOD = INDEX_MEDIA_TYPES | DOCKER_IMAGES | OCI_ARTIFACTS | {OCI_IMAGE}
IMAGE_CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
