"""
One Azure container registry: what a repository holds, the two verbs that delete, and what is needed to take that back.

Requests are raw, but travel through the SDK's own pipeline (`ContainerRegistryClient`, with our token policy put in by its
public hook). The SDK's typed list methods drop the media type of a manifest, fail on a missing attribute, follow any link that
they are given and cost several times the CPU; its typed deletes hide whether the thing was there.
See docs/decisions/0003-raw-requests-through-the-sdk-pipeline.md.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec
from azure.containerregistry.aio import ContainerRegistryClient
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from acr_cleanup import __version__
from acr_cleanup.concurrency import together
from acr_cleanup.core.inventory import INDEX_MEDIA_TYPES, Lock, Manifest, RepositoryInventory, Tag
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.core.space import Content
from acr_cleanup.core.verification import full_name
from acr_cleanup.errors import NotListed, RegistryError, RegistryForbidden, RegistryUnreachable
from acr_cleanup.quoting import quoted
from acr_cleanup.registry import failures, wire
from acr_cleanup.registry.pace import NO_ANSWER, Category, Pace, Reply
from acr_cleanup.registry.tokens import API_VERSION, DELETING, RegistryTokens
from acr_cleanup.registry.transport import SharedTransport, TooLargeError, Transport, read_bounded

DEFAULT_AUDIENCE = "https://containerregistry.azure.net"

PAGE = 1000
"""Entries per page; the registry silently clamps larger wishes. https://github.com/Azure/acr/issues/749"""

LARGEST_MANIFEST = 4 * 1024 * 1024
"""Bytes; the registry accepts no larger one. https://learn.microsoft.com/azure/container-registry/container-registry-skus"""

LARGEST_PAGE = 64 * 1024 * 1024

MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        *sorted(INDEX_MEDIA_TYPES),
        "application/vnd.oci.artifact.manifest.v1+json",
        "application/vnd.cncf.oras.artifact.manifest.v1+json",
        "*/*",
    )
)

_HOST = re.compile(r"(?=.{1,255}$)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*(?::[0-9]{1,5})?")
# What may become part of a path. `DELETE …/_tags/` or `…/_tags/..` would not mean a tag any more.
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DIGEST = re.compile(r"sha(?:256|512):[0-9a-f]+")
_NEXT = re.compile(r"<([^<>]*)>\s*;[^,<]*\brel=\"?next\b\"?", re.IGNORECASE)

# What a registry says that is asked for a part (a layer, a child) that it does not hold.
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
_PART_MISSING = re.compile(r"\b(?:MANIFEST_BLOB_UNKNOWN|BLOB_UNKNOWN|MANIFEST_UNKNOWN)\b")

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest, byte for byte, and the media type under which the registry serves it."""

    content: bytes
    media_type: str


@asynccontextmanager
async def open_registry(
    login_server: str,
    credential: AsyncTokenCredential,
    transport: Transport,
    *,
    audience: str = DEFAULT_AUDIENCE,
    concurrency: int = 8,
    actions: Iterable[str] = DELETING,
    pace: Pace | None = None,
) -> AsyncIterator[AcrRegistry]:
    """
    A registry, ready to be asked; nothing is sent before the first call.

    `login_server` is its host name, with a port if it has one. `transport` carries proxy and certificate authority, is used
    for every request (the SDK's own token requests included) and is left open. `audience` is what its tokens are for.
    `concurrency`: requests in flight (deletions never more than 32), and so connections that are opened. `actions`: what tokens
    that must name their repositories are to allow (see tokens.py). `pace` replaces the usual pace altogether.
    Raises `RegistryUnreachable` for something that is no host name.
    """
    if not _HOST.fullmatch(login_server):
        raise RegistryUnreachable(
            f"{quoted(repr(login_server))} is not a host name.",
            remedy="Check container_registry.url; it looks like contoso.azurecr.io.",
        )
    shared = SharedTransport(transport)
    pace = pace or Pace(concurrency)
    user_agent = f"acr-cleanup/{__version__}"
    tokens = RegistryTokens(
        login_server, credential, shared, pace, audience=audience, actions=actions, user_agent=user_agent
    )
    client = ContainerRegistryClient(
        f"https://{login_server}",
        credential,
        audience=audience,
        transport=shared,
        per_call_policies=[tokens],
        # Only pace.py repeats requests. And the registry never redirects what we ask for: a captive portal does.
        retry_policy=_Onward(),
        redirect_policy=_Onward(),
        # The transport knows its proxy, and nobody asks for headers, hooks or a trace of the network.
        proxy_policy=_Onward(),
        headers_policy=_Onward(),
        custom_hook_policy=_Onward(),
        logging_policy=_Onward(),
        user_agent=user_agent,
    )
    async with client:
        yield AcrRegistry(login_server, client, tokens, pace, concurrency=concurrency)


class _Onward(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Takes the place of a policy of the SDK that has nothing to do here, and would cost every request its share of CPU."""

    async def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        return await self.next.send(request)


class PartMissing(RegistryError):
    """A manifest cannot be pushed, for the registry does not hold its layers or children any more."""


class AcrRegistry:
    """
    Reads repositories of one registry, untags and deletes manifests, changes locks, and puts manifests and tags back.

    Every method raises `RegistryUnreachable` when the registry cannot be reached at all, `RegistryForbidden` when rights are
    missing, `IdentityError` when there is no login, and another `RegistryError` when one call failed for good.
    """

    def __init__(
        self,
        login_server: str,
        client: ContainerRegistryClient,
        tokens: RegistryTokens,
        pace: Pace,
        *,
        concurrency: int,
    ) -> None:
        self.login_server = login_server
        self._base = f"https://{login_server}"
        # The SDK's only door for requests of one's own. Its generated client in between would copy each request, and take its
        # URL for a template.
        self._client = client._client._client  # noqa: SLF001
        self._tokens = tokens
        self._pace = pace
        self._concurrency = concurrency
        # A digest's content never changes, but a repository may list a manifest whose content it has lost: hence both.
        self._edges: dict[tuple[str, Digest], wire.Edges] = {}
        # Used, and not there when they were asked for: what is pushed since is listed, or nobody can run it yet.
        self._absent: set[tuple[str, str]] = set()
        # The registry's clock, and ours that only counts seconds, at its first answer.
        self._date: tuple[datetime, float] | None = None

    def now(self) -> datetime | None:
        """The time by the registry's own clock, to the second, as its first answer told it; None if none did."""
        if self._date is None:
            return None
        date, at = self._date
        return date + timedelta(seconds=time.monotonic() - at)

    def _note_date(self, header: str) -> None:
        if self._date is None and header:
            with suppress(ValueError):
                date = parsedate_to_datetime(header)
                self._date = (date if date.tzinfo else date.replace(tzinfo=UTC), time.monotonic())

    def announce(self, repositories: Iterable[str]) -> None:
        """Tell which repositories are going to be read or changed, so that tokens that must name them name ten at a time."""
        self._tokens.announce(repositories)

    async def catalog(self) -> tuple[str, ...]:
        """The names of all repositories that the identity may see."""
        call = "listing the repositories"
        found = await self._list("/acr/v1/_catalog", wire.read_repositories, call, failures.LISTING_THE_CATALOG)
        return tuple(found)

    async def list_repository(self, name: str) -> RepositoryInventory:
        """
        Every tag and every manifest of a repository, the edges still unread; empty if there is no such repository.

        Raises `NotListed` when any page is missing or cannot be understood.
        """
        path = f"/acr/v1/{self._quote_repository(name)}"
        tags: dict[str, Tag] = {}
        listed: dict[str, wire.ListedManifest] = {}
        known: dict[str, Digest] = {}

        async def list_tags() -> None:
            nonlocal tags
            tags = await self._list(
                f"{path}/_tags", partial(wire.read_tags, known=known), f"listing the tags of {name}"
            )

        async def list_manifests() -> None:
            nonlocal listed
            read = partial(wire.read_manifests, known=known)
            listed = await self._list(f"{path}/_manifests", read, f"listing the manifests of {name}")

        await together((list_tags, list_manifests), limit=2)
        known.clear()
        return RepositoryInventory(
            name,
            (*tags.values(), *_hidden_tags(tags, listed)),
            {each.manifest.digest: each.manifest for each in listed.values()},
        )

    async def read_edges(self, inventory: RepositoryInventory) -> RepositoryInventory:
        """
        The same inventory with the edges of every manifest that may have any (`inventory.unread`), and its own lock.

        What is used and not listed (`listEnabled: false`) is asked for by itself, for it keeps its children like anything else.
        What is not there, is too large, cannot be understood or is not what its digest says stays unknown; and so it is read
        again the next time, while what has been read is remembered. Raises `RegistryForbidden` if not one body may be read.
        """
        locked, count = False, 0
        inventory = await self._with_unlisted(inventory)

        async def read_attributes() -> None:
            nonlocal locked, count
            locked, count = await self._repository(inventory.name)

        async def read_bodies() -> None:
            nonlocal inventory
            tried: set[Digest] = set()
            while pending := [digest for digest in inventory.unread if digest not in tried]:
                tried.update(pending)
                inventory = inventory.with_edges(await self._read_all(inventory, pending))

        await together((read_attributes, read_bodies), limit=2)
        return replace(inventory, locked=locked, hidden=max(0, count - len(inventory.manifests)))

    async def _with_unlisted(self, inventory: RepositoryInventory) -> RepositoryInventory:
        """The same inventory with what is used and can be pulled, although nothing lists it. Raises `RegistryError`."""
        path = f"/acr/v1/{self._quote_repository(inventory.name)}"
        tags: list[Tag] = []
        manifests: list[Manifest] = []

        async def ask(kind: str, name: str) -> bytes | None:
            call = f"reading the attributes of {full_name(inventory.name, name)}"
            query = urlencode({"api-version": API_VERSION})
            reply = await self._call(Category.READ, "GET", f"{path}/{kind}/{quote(name, safe='')}?{query}", call)
            if failures.is_missing(reply):
                self._absent.add((inventory.name, name))
                return None
            if reply.status != 200:
                raise failures.refused(self.login_server, call, reply, failures.READING)
            return reply.body

        async def tag(name: str) -> None:
            if (body := await ask("_tags", name)) is not None:
                tags.append(wire.read_tag(body))

        async def manifest(digest: Digest) -> None:
            if (body := await ask("_manifests", digest)) is not None:
                manifests.append(wire.read_manifest(body).manifest)

        absent = {name for repository, name in self._absent if repository == inventory.name}
        names = sorted(each for each in inventory.used_tags - inventory.names - absent if _TAG.fullmatch(each))
        digests = sorted(inventory.used - inventory.manifests.keys() - inventory.tags_of.keys() - absent)
        works = [*(partial(tag, each) for each in names), *(partial(manifest, each) for each in digests)]
        try:
            await together(works, limit=self._concurrency)
        except wire.Unreadable as error:
            seen = f"an answer that does not describe what is used: {quoted(str(error))}."
            raise failures.not_listed(self.login_server, f"reading what is used of {inventory.name}", seen) from None
        found = replace(inventory, tags=(*inventory.tags, *tags)) if tags else inventory
        return found.with_edges(manifests)

    async def _repository(self, name: str) -> tuple[bool, int]:
        """
        Is the repository itself locked, and how many manifests does it count?

        What cannot be told is an error: a lock must not be overlooked.
        """
        path = f"/acr/v1/{self._quote_repository(name)}?{urlencode({'api-version': API_VERSION})}"
        call = f"reading the attributes of {name}"
        reply = await self._call(Category.READ, "GET", path, call)
        if failures.is_missing(reply):
            return False, 0
        if reply.status != 200:
            raise failures.refused(self.login_server, call, reply, failures.READING)
        try:
            return wire.read_repository(reply.body, name)
        except wire.Unreadable as error:
            seen = f"an answer that does not describe it: {quoted(str(error))}."
            raise failures.not_listed(self.login_server, call, seen) from None

    async def _read_all(self, inventory: RepositoryInventory, digests: Sequence[Digest]) -> list[Manifest]:
        refusals: list[RegistryForbidden] = []

        async def one(digest: Digest) -> Manifest | None:
            try:
                return await self._read(inventory, digest)
            except RegistryForbidden as error:
                refusals.append(error)
                return None

        read = await together([partial(one, digest) for digest in digests], limit=self._concurrency)
        if refusals and len(refusals) == len(digests):
            raise refusals[0]
        return [manifest for manifest in read if manifest is not None]

    async def read_contents(self, inventory: RepositoryInventory) -> tuple[dict[Digest, Content | None], int]:
        """
        What every manifest of the repository takes up (None where it cannot be read, or does not say), and how many had to be read.

        An index takes up its own document, which its listing has told. Nothing of it is remembered. Raises `RegistryForbidden`.
        """
        found: dict[Digest, Content | None] = dict.fromkeys((*inventory.manifests, *inventory.tags_of))
        pending = []
        for digest in found:
            manifest, edges = inventory.manifests.get(digest), self._edges.get((inventory.name, digest))
            if edges is not None:
                found[digest] = edges.content
            elif manifest is not None and manifest.is_index and manifest.size and manifest.known:
                found[digest] = Content(manifest.size)
            else:
                pending.append(digest)

        async def one(digest: Digest) -> None:
            try:
                edges = await self._body(inventory.name, digest)
            except (RegistryUnreachable, RegistryForbidden):
                raise
            except RegistryError:
                return
            found[digest] = edges.content if edges is not None else None

        await together([partial(one, digest) for digest in pending], limit=self._concurrency)
        return found, len(pending)

    async def resolves(self, repository: str, name: str) -> bool:
        """Can this tag or digest be pulled, whatever the lists say of it? Raises `RegistryError`."""
        self._check(_DIGEST if ":" in name else _TAG, name, "tag")
        path = f"/v2/{self._quote_repository(repository)}/manifests/{quote(name, safe='')}"
        call = f"looking for {repository}{'@' if ':' in name else ':'}{name}"
        reply = await self._call(Category.READ, "GET", path, call, accept=MANIFEST_TYPES, largest=LARGEST_MANIFEST)
        if failures.is_missing(reply):
            return False
        if reply.status != 200:
            raise failures.refused(self.login_server, call, reply, failures.READING)
        return True

    async def untag(self, repository: str, tag: str) -> OutcomeKind:
        """Remove one name and nothing else: `deleted`, `gone` or `locked`."""
        self._check(_TAG, tag, "tag")
        path = f"/acr/v1/{self._quote_repository(repository)}/_tags/{tag}?{urlencode({'api-version': API_VERSION})}"
        return await self._delete(path, f"untagging {repository}:{tag}")

    async def delete_manifest(self, repository: str, digest: Digest) -> OutcomeKind:
        """Remove a manifest **and every tag on it**: `deleted`, `gone` or `locked`."""
        self._check(_DIGEST, digest, "digest")
        path = f"/v2/{self._quote_repository(repository)}/manifests/{quote(digest, safe='')}"
        return await self._delete(path, f"deleting manifest {repository}@{digest}")

    async def _delete(self, path: str, call: str) -> OutcomeKind:
        reply = await self._call(Category.DELETE, "DELETE", path, call)
        if reply.status in (200, 202, 204):
            return OutcomeKind.DELETED
        if failures.is_missing(reply):
            # After a try whose answer was lost, its absence is most likely our doing.
            return OutcomeKind.DELETED if reply.uncertain else OutcomeKind.GONE
        if reply.status == 405:
            return OutcomeKind.LOCKED
        raise failures.refused(self.login_server, call, reply, failures.DELETING)

    async def unlock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        """
        Let this tag (or with `lock.tag` None the manifest `digest`) be deleted; returns what has been unlocked, by its digest.

        That is another digest where the tag has moved, and None if there is no such thing any more. Raises `RegistryError`.
        """
        return await self._set_lock(repository, digest, Lock(lock.tag, True, True), "unlocking")

    async def lock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        """Give this tag (or manifest) the very attributes that `lock` holds; returns what `unlock` does."""
        return await self._set_lock(repository, digest, lock, "locking")

    async def _set_lock(self, repository: str, digest: Digest, lock: Lock, verb: str) -> Digest | None:
        path = f"/acr/v1/{self._quote_repository(repository)}"
        if lock.tag is not None:
            self._check(_TAG, lock.tag, "tag")
            path, call = f"{path}/_tags/{lock.tag}", f"{verb} {repository}:{lock.tag}"
        else:
            self._check(_DIGEST, digest, "digest")
            path, call = f"{path}/_manifests/{quote(digest, safe='')}", f"{verb} manifest {repository}@{digest}"
        wish = msgspec.json.encode({"deleteEnabled": lock.delete_enabled, "writeEnabled": lock.write_enabled})
        reply = await self._call(
            Category.WRITE, "PATCH", f"{path}?{urlencode({'api-version': API_VERSION})}", call, content=wish
        )
        if failures.is_missing(reply):
            return None
        if reply.status != 200:
            raise failures.refused(self.login_server, call, reply, failures.WRITING)
        if lock.tag is None:
            return digest
        try:
            return wire.read_tag(reply.body).digest
        except wire.Unreadable as error:
            raise RegistryError(
                f"an answer that is no tag: {quoted(str(error))}.",
                where=failures.where(self.login_server, call),
                remedy="Check whether a proxy answers in the registry's place.",
            ) from None

    async def read_document(self, repository: str, digest: Digest) -> Document | None:
        """The content of a manifest, proven to be what its digest says; None if it is not there. Raises `RegistryError`."""
        self._check(_DIGEST, digest, "digest")
        path = f"/v2/{self._quote_repository(repository)}/manifests/{quote(digest, safe='')}"
        call = f"reading manifest {repository}@{digest}"
        reply = await self._call(Category.READ, "GET", path, call, accept=MANIFEST_TYPES, largest=LARGEST_MANIFEST)
        if failures.is_missing(reply):
            return None
        if reply.status != 200:
            raise failures.refused(self.login_server, call, reply, failures.READING)
        if not wire.has_digest(reply.body, digest):
            raise RegistryError(
                "an answer that does not have this digest.",
                where=failures.where(self.login_server, call),
                remedy="Check whether a proxy answers in the registry's place, and run again.",
            )
        return Document(reply.body, reply.headers.get("Content-Type", "").partition(";")[0].strip())

    async def put_document(self, repository: str, digest: Digest, document: Document, tag: str | None = None) -> None:
        """
        Push a manifest, and let `tag` name it, whatever that named before.

        Raises `PartMissing` when the registry no longer holds what the manifest is made of, and any other `RegistryError`.
        """
        self._check(_DIGEST, digest, "digest")
        if tag is not None:
            self._check(_TAG, tag, "tag")
        if not wire.has_digest(document.content, digest):
            raise RegistryError(f"what is to be pushed is not {digest}; nothing was sent.", where=repository)
        path = f"/v2/{self._quote_repository(repository)}/manifests/{quote(tag or digest, safe='')}"
        call = f"pushing {repository}:{tag}" if tag is not None else f"pushing manifest {repository}@{digest}"
        reply = await self._call(
            Category.WRITE, "PUT", path, call, content=document.content, content_type=document.media_type
        )
        if reply.status in (400, 404) and _PART_MISSING.search(said := failures.what_it_said(reply)):
            raise PartMissing(
                f"the registry no longer holds what it is made of: {said}.",
                where=failures.where(self.login_server, call),
                remedy="Build and push it again.",
            )
        if reply.status not in (200, 201, 202):
            raise failures.refused(self.login_server, call, reply, failures.WRITING)
        stored = reply.headers.get("Docker-Content-Digest", digest)
        if stored != digest:
            raise RegistryError(
                f"the registry stored it as {quoted(stored)}.",
                where=failures.where(self.login_server, call),
                remedy="Check whether a proxy answers in the registry's place.",
            )

    async def deleted_manifests(self, repository: str) -> frozenset[Digest]:
        """
        What soft delete still holds of a repository; empty where it is off. Raises `RegistryError`.

        https://learn.microsoft.com/azure/container-registry/container-registry-soft-delete-policy
        """
        path = f"/acr/v1/_deleted/{self._quote_repository(repository)}/_manifests"
        call = f"listing the deleted manifests of {repository}"
        try:
            found = await self._pages(path, wire.read_manifests, call, failures.UNDELETING)
        except wire.Unreadable:
            return frozenset()
        except RegistryForbidden:
            raise
        except RegistryError as error:
            # A registry without soft delete has no such list, and how it says so is not documented.
            log.debug("no list of deleted manifests: %s", error)
            return frozenset()
        return frozenset(each.manifest.digest for each in found.values())

    async def undelete(self, repository: str, digest: Digest, tag: str | None = None) -> bool:
        """
        Bring a manifest back from soft delete, with `tag` if that names nothing else; False if it is not held any more.

        The children of an index do not come back with it. Raises `RegistryError`.
        """
        self._check(_DIGEST, digest, "digest")
        if tag is not None:
            self._check(_TAG, tag, "tag")
        path = f"/acr/v1/_deleted/{self._quote_repository(repository)}/_manifests/{quote(digest, safe='')}?force=False"
        call = f"restoring the deleted manifest {repository}@{digest}"
        reply = await self._call(Category.WRITE, "POST", path, call, content=msgspec.json.encode({"tag": tag}))
        if failures.is_missing(reply):
            return False
        if reply.status not in (200, 201, 202):
            raise failures.refused(self.login_server, call, reply, failures.UNDELETING)
        return True

    async def _read(self, inventory: RepositoryInventory, digest: Digest) -> Manifest | None:
        """One manifest with its edges known; None if they, or what may be done to it, cannot be."""
        manifest = inventory.manifests.get(digest)
        try:
            if manifest is None:
                # Named by a tag and not listed: whether it is locked is to be asked for by itself.
                manifest = await self._attributes(inventory.name, digest)
                if manifest is None or manifest.is_image:
                    return manifest
            key = (inventory.name, digest)
            if key not in self._edges:
                edges = await self._body(inventory.name, digest)
                if edges is None:
                    return manifest
                self._edges[key] = edges
        except (RegistryUnreachable, RegistryForbidden):
            raise
        except RegistryError:
            return manifest
        return self._edges[key].of(manifest)

    async def _attributes(self, repository: str, digest: Digest) -> Manifest | None:
        path = f"/acr/v1/{self._quote_repository(repository)}/_manifests/{quote(digest, safe='')}"
        call = f"reading the attributes of {repository}@{digest}"
        reply = await self._call(Category.READ, "GET", f"{path}?{urlencode({'api-version': API_VERSION})}", call)
        if reply.status != 200:
            self._must_be_allowed(call, reply)
            return None
        try:
            manifest = wire.read_manifest(reply.body).manifest
        except wire.Unreadable:
            return None
        return manifest if manifest.digest == digest else None

    async def _body(self, repository: str, digest: Digest) -> wire.Edges | None:
        path = f"/v2/{self._quote_repository(repository)}/manifests/{quote(digest, safe='')}"
        call = f"reading manifest {repository}@{digest}"
        reply = await self._call(Category.READ, "GET", path, call, accept=MANIFEST_TYPES, largest=LARGEST_MANIFEST)
        if reply.status != 200:
            self._must_be_allowed(call, reply)
            return None
        try:
            return wire.read_edges(reply.body, digest, reply.headers.get("Content-Type", ""))
        except wire.Unreadable:
            return None

    def _must_be_allowed(self, call: str, reply: Reply) -> None:
        if reply.status in (401, 403):
            raise failures.refused(self.login_server, call, reply, failures.READING)

    async def _list(
        self, path: str, read: Callable[[bytes], dict[str, T]], call: str, role: str = failures.READING
    ) -> dict[str, T]:
        """All pages of one list, by name; empty if there is no such thing."""
        try:
            return await self._pages(path, read, call, role)
        except wire.Unreadable as error:
            seen = f"an answer that is no such list: {quoted(str(error))}."
            raise failures.not_listed(self.login_server, call, seen) from None
        except (RegistryUnreachable, RegistryForbidden):
            raise
        except RegistryError as error:
            raise NotListed(error.seen, where=error.where, remedy=error.remedy) from error

    async def _pages(self, path: str, read: Callable[[bytes], dict[str, T]], call: str, role: str) -> dict[str, T]:
        found: dict[str, T] = {}
        followed: set[str] = set()
        query = urlencode({"n": PAGE})
        while query:
            followed.add(query)
            reply = await self._call(Category.READ, "GET", f"{path}?{query}", call)
            if failures.is_missing(reply) and len(followed) == 1:
                return {}
            if reply.status != 200:
                raise failures.refused(self.login_server, call, reply, role)
            page = read(reply.body)
            known = len(found)
            found |= page
            query = _next_query(reply.headers, self._base, path)
            if query in followed or (page and len(found) == known):
                raise wire.Unreadable("its pages go round in circles")
            if not query and len(page) >= PAGE:
                # Full, and no link to more: either exactly this many, or something between us has lost the link.
                query = urlencode({"last": next(reversed(page)), "n": PAGE})
        return found

    async def _call(
        self,
        category: Category,
        method: str,
        path: str,
        call: str,
        *,
        accept: str = "application/json",
        largest: int = LARGEST_PAGE,
        content: bytes | None = None,
        content_type: str = "application/json",
    ) -> Reply:
        """One operation, in its turn, repeated if need be. Any status may come out; only silence raises."""
        url = f"{self._base}{path}"

        async def send() -> Reply:
            # The SDK would name each request by the clock, which takes longer than all else that it does.
            headers = {"Accept": accept, "x-ms-client-request-id": str(uuid.uuid4())}
            if content is not None:
                headers["Content-Type"] = content_type
            request = HttpRequest(method, url, headers=headers, content=content)
            # Streamed, or the SDK would parse every page with the standard library before we see it.
            response = await self._client.send_request(request, stream=True)
            self._note_date(response.headers.get("Date", ""))
            try:
                body = await read_bounded(response, largest)
            except NO_ANSWER:
                if method != "DELETE":
                    raise
                # Its status has said everything.
                body = b""
            except TooLargeError:
                raise RegistryError(
                    f"an answer of more than {largest // 1024 // 1024} MiB.",
                    where=failures.where(self.login_server, call),
                    remedy="Check container_registry.url, and whether a proxy answers in its place.",
                ) from None
            return Reply(response.status_code, response.headers, body)

        try:
            return await self._pace.run(category, send)
        except NO_ANSWER as error:
            raise failures.no_answer(self.login_server, call, error) from error

    def _quote_repository(self, name: str) -> str:
        self._check(_REPOSITORY, name, "repository")
        return quote(name, safe="")

    def _check(self, grammar: re.Pattern[str], text: str, what: str) -> None:
        if not grammar.fullmatch(text):
            raise RegistryError(
                f"{quoted(repr(text))} is no valid name of a {what}; nothing was sent.",
                where=f"registry {self.login_server}",
                remedy="Remove it by hand, if it is to go.",
            )


def _next_query(headers: Mapping[str, str], base: str, path: str) -> str:
    """
    The query of the next page, empty if there is none. Raises `Unreadable` for a link that leads anywhere but on.

    `Link: </acr/v1/NAME/_tags?last=…&n=…>; rel="next"`
    """
    link = headers.get("Link")
    if not link:
        return ""
    match = _NEXT.search(link)
    if match is None:
        raise wire.Unreadable(f"a Link header that cannot be read ({link!r})")
    here = urlsplit(f"{base}{path}")
    try:
        there = urlsplit(urljoin(f"{base}{path}", match[1]))
    except ValueError:
        raise wire.Unreadable(f"a link to the next page that is no address ({match[1]!r})") from None
    same_path = there.path.replace("%2F", "/").replace("%2f", "/") == here.path.replace("%2F", "/")
    if (there.scheme, there.netloc.lower()) != (here.scheme, here.netloc.lower()) or not same_path or not there.query:
        raise wire.Unreadable(f"a link to the next page that leads elsewhere ({match[1]!r})")
    return str(there.query)


def _hidden_tags(tags: Mapping[str, Tag], listed: Mapping[str, wire.ListedManifest]) -> list[Tag]:
    """
    Tags that a manifest shows and the list of tags does not: unlisted ones (`listEnabled: false`), or pushed a moment ago.

    Deleting the manifest would take them along. Their age is not known, so they are kept, and the manifest with them.
    """
    return [Tag(name, each.manifest.digest, None) for each in listed.values() for name in each.tags if name not in tags]
