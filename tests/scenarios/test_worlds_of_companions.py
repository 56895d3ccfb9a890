"""Signatures, SBOMs, attestations and converted images: deleted or kept with an image."""

from __future__ import annotations

import json

import pytest

from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST, OCI_CONFIG
from tests.helpers.graph_world import GraphWorld, graph
from tests.helpers.registry_worlds import APP, OLD, YOUNG, Labels, RegistryWorld, WorldTable, named_after

pytestmark = pytest.mark.extended

__all__ = ["graph"]

worlds = WorldTable()
NOTATION = "application/vnd.cncf.notary.signature"
ORAS = "application/vnd.cncf.oras.artifact.manifest.v1+json"
ABSENT = f"sha256:{'0' * 64}"


# -- companions by the name of their tag: cosign, and the fallback of OCI 1.1 -----------------------


@worlds.leaves()
def cosign_companions_of_an_old_image(make: Labels) -> None:
    image = make.image("v1")
    for suffix in (".sig", ".att", ".sbom"):
        make.companion(suffix, image, suffix)


@worlds.leaves("v1 v1.sig v1.att signature attestation")
def cosign_companions_of_an_image_used_by_digest(make: Labels) -> None:
    image = make.image("v1")
    make.companion("signature", image)
    make.companion("attestation", image, ".att")
    make.graph.run_image(digest=image)


@worlds.leaves("v1 v1.sig signature")
def old_signature_of_a_young_image(make: Labels) -> None:
    make.companion("signature", make.image("v1", age=YOUNG))


@worlds.leaves("v1.sig signature", manifests="v1")
def young_signature_of_an_old_image(make: Labels) -> None:
    """A scheduled job signs again. The signature is kept by its age, and so is what it signs."""
    make.companion("signature", make.image("v1"), age=YOUNG)


@worlds.leaves("v1 prod-v1.sig signature")
def signature_with_an_attachment_tag_prefix(make: Labels) -> None:
    """`cosign sign --attachment-tag-prefix prod-`"""
    for version, age in (("v1", YOUNG), ("v0", OLD)):
        signature = make.graph.push(
            f"prod-{named_after(make.image(version, age=age), '.sig')}", architecture=None, os=None
        )
        make.digests["signature" if version == "v1" else "old"] = signature


@worlds.leaves()
def signature_of_a_signature(make: Labels) -> None:
    make.companion("outer", make.companion("inner", make.image("v1")))


@worlds.leaves("v1 v1.sig signature signature.sig outer", keep_last="2")
def signature_of_a_signature_of_a_kept_image(make: Labels) -> None:
    make.companion("outer", make.companion("signature", make.image("v1", age=YOUNG)))


@worlds.leaves("v1 amd64 amd64.sig signature")
def recursive_signature_of_a_child(make: Labels) -> None:
    """`cosign sign --recursive` signs each platform of an index."""
    child = make.image("amd64", tag=None)
    make.companion("signature", child)
    make.index("v1", child, age=YOUNG)


@worlds.leaves()
def signature_whose_image_is_gone(make: Labels) -> None:
    make.companion("signature", ABSENT)


@worlds.leaves("v1 fallback v1 signature bundle")
def fallback_index_of_a_young_image(make: Labels) -> None:
    """A client of a registry without the referrers API tags an index `sha256-…` after the subject."""
    image = make.image("v1", age=YOUNG)
    signature = make.attached("signature", image)
    bundle = make.attached("bundle", image, artifact_type="application/vnd.dev.sigstore.bundle.v0.3+json")
    make.index("fallback", signature, bundle, tag=named_after(image))


@worlds.leaves()
def fallback_index_of_an_old_image(make: Labels) -> None:
    image = make.image("v1")
    signature = make.attached("signature", image)
    make.index("fallback", signature, tag=named_after(image))


@worlds.leaves()
def fallback_index_of_an_image_that_is_gone(make: Labels) -> None:
    signature = make.attached("signature", ABSENT)
    make.index("fallback", signature, tag=named_after(ABSENT))


@worlds.leaves("mine")
def tag_that_is_named_after_its_own_manifest(make: Labels) -> None:
    image = make.image("own", tag=None)
    make.registry.tag(APP, named_after(image), image, OLD)
    make.image("mine", age=YOUNG)


# -- companions by their subject -------------------------------------------------------------------


@worlds.leaves()
def notation_signature_of_an_old_image(make: Labels) -> None:
    make.attached("signature", make.image("v1"), artifact_type=NOTATION)


@worlds.leaves()
def young_notation_signature_of_an_old_image(make: Labels) -> None:
    """The registry deletes it with its subject, so it is decided with it."""
    make.attached("signature", make.image("v1"), artifact_type=NOTATION, age=YOUNG)


@worlds.leaves("v1 signature")
def notation_signature_of_a_young_image(make: Labels) -> None:
    make.attached("signature", make.image("v1", age=YOUNG), artifact_type=NOTATION)


@worlds.leaves(delete_untagged="true")
def signed_sbom_of_an_old_image(make: Labels) -> None:
    sbom = make.attached("sbom", make.image("v1"), artifact_type="application/spdx+json")
    make.attached("signature", sbom, artifact_type=NOTATION)


@worlds.leaves("v1 sbom signature", delete_untagged="true")
def signed_sbom_of_a_young_image(make: Labels) -> None:
    sbom = make.attached("sbom", make.image("v1", age=YOUNG), artifact_type="application/spdx+json")
    make.attached("signature", sbom, artifact_type=NOTATION)


@worlds.leaves("v1 sbom")
def old_tagged_sbom_of_a_young_image(make: Labels) -> None:
    make.attached("sbom", make.image("v1", age=YOUNG), tag="sbom")


@worlds.leaves("sbom", manifests="v1")
def young_tagged_sbom_of_an_old_image(make: Labels) -> None:
    make.attached("sbom", make.image("v1"), tag="sbom", age=YOUNG)


@worlds.leaves(manifests="v1 signature")
def locked_signature_without_a_tag(make: Labels) -> None:
    signature = make.attached("signature", make.image("v1"))
    make.registry.lock(APP, signature)


@worlds.leaves(include_locked="true")
def locked_signature_with_include_locked(make: Labels) -> None:
    signature = make.attached("signature", make.image("v1"))
    make.registry.lock(APP, signature)


@worlds.leaves("other", delete_untagged="true")
def signature_of_an_image_in_another_repository(make: Labels) -> None:
    image = make.graph.push("v1", repository="other", age=YOUNG)
    make.attached("signature", image)
    make.image("other", age=YOUNG)


@worlds.leaves()
def artifact_manifest_of_the_first_drafts(make: Labels) -> None:
    """ORAS artifact manifests, from before OCI 1.1. Notation wrote them until its first release."""
    image = make.image("v1", media_type=DOCKER_MANIFEST)
    subject = {"mediaType": DOCKER_MANIFEST, "digest": image, "size": 1}
    body = json.dumps({"mediaType": ORAS, "artifactType": NOTATION, "blobs": [], "subject": subject}).encode()
    make.digests["signature"] = make.registry.put(APP, None, body, ORAS, OLD)


@worlds.leaves("v1-nydus", manifests="v1")
def running_conversion_of_an_old_image(make: Labels) -> None:
    converted = make.image("v1-nydus", subject=make.image("v1"))
    make.graph.run_image(digest=converted)


@worlds.leaves("v1", manifests="amd64 streamed converted")
def streamed_index_whose_child_runs(make: Labels) -> None:
    """Artifact streaming converts an index: the conversion is an index with the original as subject."""
    original = make.image("amd64", tag=None)
    index = make.index("v1", original)
    converted = make.image("converted", tag=None, subject=original)
    make.index("streamed", converted, tag=None, subject=index)
    make.graph.run_image(digest=converted)


@worlds.leaves()
def conversion_of_a_conversion(make: Labels) -> None:
    first = make.image("first", tag=None, subject=make.image("v1"))
    make.image("second", tag=None, subject=first)


@worlds.leaves(tells="Deleted 3 tags and 3 manifests")
def signed_conversion_whose_subject_was_not_read(make: Labels) -> None:
    """The registry may take the signature along in a chain, before the tool asks for it."""
    converted = make.image("converted", subject=make.image("v1"))
    make.attached("signature", converted, tag="signature")


@worlds.leaves("v2", manifests="v1 converted-v1")
def untagged_locked_conversion(make: Labels) -> None:
    converted = make.image("converted-v1", tag=None, subject=make.image("v1"))
    make.registry.lock(APP, converted, delete=False)
    make.image("v2", age=YOUNG)


# -- attestations of BuildKit ----------------------------------------------------------------------


def attestation(make: Labels, label: str, subject: str | None = None, **options: object) -> str:
    """An attestation manifest: an image of the platform unknown/unknown."""
    platform = {"architecture": "unknown", "os": "unknown", "config_media_type": OCI_CONFIG}
    return make.image(label, tag=None, subject=subject, **{**platform, **options})


@worlds.leaves()
def attested_index_that_is_old(make: Labels) -> None:
    image = make.image("amd64", tag=None)
    make.index("v1", image, attestation(make, "attestation"))


@worlds.leaves("v1 amd64 attestation")
def attested_index_whose_image_runs(make: Labels) -> None:
    image = make.image("amd64", tag=None)
    make.index("v1", image, attestation(make, "attestation"))
    make.graph.run_image(digest=image)


@worlds.leaves("v1 amd64 attestation")
def attestation_that_is_a_child_and_a_referrer(make: Labels) -> None:
    """BuildKit with `oci-artifact=true`: the attestation has the image as its subject, too."""
    image = make.image("amd64", tag=None)
    make.index("v1", image, attestation(make, "attestation", subject=image))
    make.graph.run_image(digest=image)


@worlds.leaves()
def old_attestation_that_is_a_child_and_a_referrer(make: Labels) -> None:
    image = make.image("amd64", tag=None)
    make.index("v1", image, attestation(make, "attestation", subject=image))


@worlds.leaves("v2 amd64 young")
def image_with_attestations_of_two_builds(make: Labels) -> None:
    """A build that changes nothing shares its image with the build before, but attests anew."""
    image = make.image("amd64", tag=None)
    make.index("v1", image, attestation(make, "old"))
    make.index("v2", image, attestation(make, "young", age=YOUNG), age=YOUNG)


@worlds.leaves("v2 amd64 old young")
def attestations_as_referrers_of_two_builds(make: Labels) -> None:
    """As above, as referrers: a kept image keeps everything attached to it."""
    image = make.image("amd64", tag=None)
    make.index("v1", image, attestation(make, "old", subject=image))
    make.index("v2", image, attestation(make, "young", subject=image, age=YOUNG), age=YOUNG)


@worlds.each
def test_world_keeps_and_deletes_as_listed(graph: GraphWorld, world: RegistryWorld) -> None:
    world.play(graph)
