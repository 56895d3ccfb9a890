"""
Image references: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.

A reference keeps its tag **and** its digest. A pull ignores the tag if there is a digest.
Protection uses both: the tag, because the next manifest may be written with it again, and the
digest, because it runs. Without either, the tag is `latest`.

The first path component is a host only if it contains a `.` or a `:`, is `localhost`, or has
capitals. Otherwise the reference belongs to Docker Hub. So `contoso.azurecr.io:r1` (no slash) is
*not* in the registry contoso. Grammar:
https://github.com/distribution/reference/blob/main/reference.go
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

from acr_cleanup.errors import InvalidReference

Digest = NewType("Digest", str)
"""
`sha256:<64 hex>`: the immutable identity of a manifest.

Only `parse_digest` makes one from outside text.
"""

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"

# The grammar, as regular expressions to build other ones from.
DIGEST = r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
FULL_PATH_LENGTH = 255

_DIGEST = re.compile(DIGEST)
_TAG = re.compile(TAG)
_PATH = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_SCHEME = re.compile(r"[a-z][a-z0-9-]*://")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """
    The name of one image: host, repository, and its tag, its digest or both.

    Without either it is an **open** reference: a template such as `shop/web:{{ .Values.tag }}`
    names the repository, but not which image, so it may mean any of them. `parse_reference` never
    returns one, because a runtime could not start it.
    """

    host: str
    repository: str
    tag: str | None
    digest: Digest | None

    @property
    def is_open(self) -> bool:
        """May it mean any image of the repository?"""
        return self.tag is None and self.digest is None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


@dataclass(frozen=True, slots=True)
class RegistryHost:
    """
    The host names of one Azure container registry.

    Regional endpoints `NAME.REGION.geo.azurecr.io` are recognised without being listed. Hosts are
    compared without regard to case, and the port `:443` is ignored.

    login_server: the host that requests are sent to (`contoso.azurecr.io`, with a port if it has
        one).
    aliases: further host names (custom domains).
    """

    login_server: str
    aliases: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """
        The name of the resource. A login server may have a hash behind it; names have no hyphens.

        >>> RegistryHost("contoso-abc123.azurecr.io").name
        'contoso'
        """
        return re.split(r"[.:-]", self.login_server.lower())[0]

    def owns(self, host: str) -> bool:
        """
        Is this a host name of the registry?

        >>> RegistryHost("contoso.azurecr.io").owns("CONTOSO.azurecr.io:443")
        True
        >>> RegistryHost("contoso.azurecr.io").owns("contoso.westeurope.geo.azurecr.io")
        True
        >>> RegistryHost("contoso.azurecr.io").owns("notcontoso.azurecr.io")
        False
        """
        hosts, regional, _ = _host_names(self.login_server, self.aliases)
        host = normalise_host(host)
        return host in hosts or (regional is not None and regional(host) is not None)

    def mentioned_in(self, text: str) -> bool:
        """
        Does this text contain a host name of the registry, as a whole host name?

        Used for text that cannot be parsed: if it may mean this registry, it is a blocker.

        >>> RegistryHost("contoso.azurecr.io").mentioned_in("https://contoso.azurecr.io/shop web")
        True
        >>> RegistryHost("contoso.azurecr.io").mentioned_in("contoso.azurecr.io.evil.example/a b")
        False
        """
        lower = text.lower()
        # A search for each beginning costs less than looking at every word.
        for beginning in _host_names(self.login_server, self.aliases)[2]:
            if beginning in lower:
                return any(self.owns(match.group()) for match in _HOST_IN_TEXT.finditer(text))
        return False


@lru_cache(maxsize=64)
def _host_names(
    login_server: str, aliases: frozenset[str]
) -> tuple[frozenset[str], Callable[[str], object] | None, tuple[str, ...]]:
    """The host names of a registry, what matches its regional endpoints, and with what one of these begins."""
    hosts = frozenset(map(normalise_host, (login_server, *aliases)))
    name, _, suffix = normalise_host(login_server).partition(".")
    regional = re.escape(name) + r"\.[a-z0-9-]+\.geo\." + re.escape(suffix)
    return hosts, re.compile(regional).fullmatch if suffix.startswith("azurecr.") else None, (*hosts, f"{name}.")


# Longest runs of host characters. A lookalike such as `contoso.azurecr.io.evil.example` is one run,
# and does not match.
_HOST_IN_TEXT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?")


def normalise_host(host: str) -> str:
    """The host in lower case, without the default port of HTTPS and the full stop of an absolute name."""
    return host.lower().removesuffix(":443").removesuffix(".")


def parse_digest(text: str) -> Digest:
    """Check the form of a digest. Raises `InvalidReference`."""
    if not _DIGEST.fullmatch(text):
        raise InvalidReference(f"{text!r} is not a digest (sha256: and 64 lower-case hex digits).")
    return Digest(text)


def parse_reference(text: str) -> ImageReference:
    """
    Parse an image reference as a container runtime would. Raises `InvalidReference`.

    Outer white space is removed, because pod templates may contain it. The host is lower-cased;
    `ImageUse.text` keeps the original text.

    >>> parse_reference("contoso.azurecr.io/team/api:1.0@sha256:" + "0" * 64).tag
    '1.0'
    >>> parse_reference("nginx")
    ImageReference(host='docker.io', repository='library/nginx', tag='latest', digest=None)
    """
    rest = text.strip()
    name, at, digest_text = rest.partition("@")
    digest = parse_digest(digest_text) if at else None

    first, slash, remainder = name.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    host, path = (first, remainder) if is_host else (DOCKER_HUB, name)
    if not _HOST.fullmatch(host):
        raise InvalidReference(f"{text!r} does not begin with a host name.")

    # Without the host, a colon can only introduce the tag.
    path, colon, tag = path.partition(":")
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if not _PATH.fullmatch(path) or len(path) > FULL_PATH_LENGTH:
        raise InvalidReference(f"{text!r} names no valid repository.")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidReference(f"{text!r} has no valid tag after the colon.")
    if not colon and digest is None:
        tag = DEFAULT_TAG
    return ImageReference(normalise_host(host), path, tag or None, digest)


def parse_image_id(text: str) -> ImageReference | Digest | None:
    """
    Parse `status.containerStatuses[].imageID`: a reference, a bare digest, or None if it is not set
    yet.

    Runtimes add a scheme (`docker-pullable://…`,
    https://github.com/kubernetes/kubernetes/issues/95968). They may report a bare `sha256:…`, which
    names no repository and may be the digest of the image's configuration. Raises
    `InvalidReference`.
    """
    rest = _SCHEME.sub("", text.strip(), count=1)
    if not rest:
        return None
    if _DIGEST.fullmatch(rest):
        return Digest(rest)
    return parse_reference(rest)


def short(digest: Digest) -> str:
    """
    A digest shortened for display.

    >>> short(Digest("sha256:" + "0123456789abcdef" * 4))
    'sha256:0123456789ab'
    """
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}:{value[:12]}"
