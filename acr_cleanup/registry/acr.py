"""One Azure container registry: list its repositories, delete tags and manifests, change locks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar
from urllib.parse import urlencode

import msgspec
from azure.core.credentials_async import AsyncTokenCredential

from acr_cleanup import __version__
from acr_cleanup.access import roles
from acr_cleanup.concurrency import gather
from acr_cleanup.core.inventory import Lock, RepositoryInventory
from acr_cleanup.core.known_bodies import BodyMemory
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.core.space import Content
from acr_cleanup.core.standing import RecentChanges
from acr_cleanup.core.subjects import SubjectQuestions
from acr_cleanup.core.verification import RepositoryNames
from acr_cleanup.errors import RegistryError, RegistryForbidden, RegistryUnreachable
from acr_cleanup.quoting import quoted
from acr_cleanup.registry import bodies, failures, listing, wire
from acr_cleanup.registry.edges import EdgeReader, with_listed
from acr_cleanup.registry.pace import Category, Pace, Reply
from acr_cleanup.registry.recent import RecentReader
from acr_cleanup.registry.requests import NEWEST_FIRST, PAGE, RegistryRequests
from acr_cleanup.registry.sdk_pipeline import Pipeline, sdk_client
from acr_cleanup.registry.tokens import DELETING, RegistryTokens
from acr_cleanup.registry.transport import SharedTransport, Transport

T = TypeVar("T")

DEFAULT_AUDIENCE = "https://containerregistry.azure.net"

RECOUNTS = 3
"""How often a repository that counts more than it lists is counted again, if its counts change."""

_HOST = re.compile(r"(?=.{1,255}$)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*(?::[0-9]{1,5})?")


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
    bodies: BodyMemory | None = None,
) -> AsyncIterator[AcrRegistry]:
    """
    Open a registry. No request is sent before the first call.

    - `login_server`: its host name, with a port if it has one.
    - `transport`: knows the proxy and the certificate authorities. It carries every request, also
      the SDK's own token requests, and is left open.
    - `audience`: the audience of the Entra ID token.
    - `concurrency`: requests in flight (deletions: at most 32), and so open connections.
    - `actions`: the actions that tokens ask for if they must name their repositories (tokens.py).
    - `pace`: replaces the default pace; `concurrency` then does not bound the requests.
    - `bodies`: what is known of manifests. These are not read, and what is read is added.

    Raises `RegistryUnreachable` if `login_server` is not a host name.
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
    client = sdk_client(login_server, credential, shared, tokens, audience=audience, user_agent=user_agent)
    async with client:
        requests = RegistryRequests(login_server, Pipeline(client, shared, tokens), pace)
        yield AcrRegistry(requests, tokens, concurrency=concurrency, known=bodies)


class AcrRegistry:
    """
    Reads repositories of one registry, untags, deletes manifests and changes locks.

    Every method raises `RegistryUnreachable` if no connection is possible, `RegistryForbidden` if
    rights are missing, `IdentityError` if there is no login, and another `RegistryError` if one
    call failed permanently.
    """

    def __init__(
        self, requests: RegistryRequests, tokens: RegistryTokens, *, concurrency: int, known: BodyMemory | None = None
    ) -> None:
        self.requests = requests
        self._tokens = tokens
        self._concurrency = concurrency
        self._edges = EdgeReader(requests, known or BodyMemory(), concurrency=concurrency)

    def now(self) -> datetime | None:
        """The time of the registry's own clock; None before its first dated response."""
        return self.requests.now()

    def announce(self, repositories: Iterable[str]) -> None:
        """
        Name the repositories that will be read or changed.

        Tokens that must name their repositories can then name ten at a time.
        """
        self._tokens.announce(repositories)

    async def catalog(self) -> tuple[str, ...]:
        """
        The names of all repositories that the identity may see. Raises `RegistryError`.

        A registry without repositories answers with an empty list. A 404 is not that list: with no
        name of a repository, no object of a cluster would mention one.
        """
        read, call = wire.read_repositories, "listing the repositories"
        return tuple(await self.requests.read_list("/acr/v1/_catalog", read, call, roles.CATALOG, must_exist=True))

    async def list_repository(self, name: str) -> RepositoryInventory:
        """
        List every tag and manifest of a repository, without children and subjects.

        Returns an empty inventory if the repository does not exist. Raises `NotListed` if any page
        is missing or malformed.
        """
        return await listing.list_inventory(self.requests, name)

    async def list_names(self, name: str, earlier: Mapping[Digest, Digest] | None = None) -> RepositoryNames:
        """
        List the names of every tag and manifest, as `list_repository` does.

        earlier: digests of this repository in memory, each by itself: their texts are used again.
        """
        return await listing.list_names(self.requests, name, earlier)

    async def read_edges(self, inventory: RepositoryInventory) -> RepositoryInventory:
        """
        Add the children and subjects that `inventory.unread` asks for, and the repository's lock.

        Tags and manifests that are in use but not listed (`listEnabled: false`) are requested one by
        one, since they keep their children as well.

        A manifest that is missing, too large, malformed or does not match its digest remains unknown
        and is read again next time. Others are read once. Raises `RegistryForbidden` if not a
        single body may be read.
        """
        repository = wire.RepositoryAttributes(locked=False, put_aside=False, manifests=0, tags=0)
        refusal: RegistryForbidden | None = None
        inventory = await self._edges.with_unlisted(inventory)

        async def read_attributes() -> None:
            nonlocal repository
            repository = await self._read_repository(inventory.name)

        async def read_bodies() -> None:
            nonlocal inventory, refusal
            try:
                inventory = await self._edges.read_bodies(inventory)
            except RegistryForbidden as error:
                refusal = error

        await gather((read_attributes, read_bodies), limit=2)
        if repository.put_aside:
            # Its bodies cannot be read, and are not needed: all of it is kept.
            return replace(inventory, locked=True, put_aside=True)
        if refusal is not None:
            raise refusal
        return await self._counted(inventory, repository)

    async def _counted(
        self, inventory: RepositoryInventory, repository: wire.RepositoryAttributes
    ) -> RepositoryInventory:
        """The inventory with its lock, and with the number of manifests and tags that are not listed."""
        for _ in range(RECOUNTS):
            hidden = max(0, repository.manifests - len(inventory.manifests))
            hidden_tags = max(0, repository.tags - len(inventory.tags))
            if not (hidden or hidden_tags):
                break
            # Others may have pushed or deleted since the repository was listed or counted.
            newest, counted = inventory, repository
            if hidden_tags:
                newest = await self._tags_since(newest)
            if hidden:
                newest = await self._manifests_since(newest)
            repository = await self._read_repository(inventory.name)
            if newest is not inventory:
                inventory = await self._edges.read_bodies(newest)
            elif repository == counted:
                break
        return inventory.marked(
            locked=repository.locked,
            hidden=max(0, repository.manifests - len(inventory.manifests)),
            hidden_tags=max(0, repository.tags - len(inventory.tags)),
        )

    async def _manifests_since(self, inventory: RepositoryInventory) -> RepositoryInventory:
        """
        Add manifests that were pushed after the repository was listed.

        The registry counts them already. Without them, the repository would not look whole.
        """
        listed = await self._newest(inventory.name, "manifests", wire.read_manifests)
        return with_listed(inventory, (entry for digest, entry in listed.items() if digest not in inventory.manifests))

    async def read_changes(
        self, name: str, since: datetime, known: Container[Digest], settled: asyncio.Event
    ) -> RecentChanges | None:
        """
        Read the newest entries of a repository, and its counts when `settled` is set.

        `known`: manifests whose edges need not be read. Returns None if only complete lists tell.
        """
        reader = RecentReader(self.requests, self._edges, name, since, concurrency=self._concurrency)
        return await reader.read(partial(self._read_repository, name), known, settled)

    async def _tags_since(self, inventory: RepositoryInventory) -> RepositoryInventory:
        """Add tags that were pushed after the repository was listed."""
        listed = await self._newest(inventory.name, "tags", wire.read_tags)
        new = tuple(tag for name, tag in listed.items() if name not in inventory.names)
        return replace(inventory, tags=(*inventory.tags, *new)) if new else inventory

    async def _newest(self, repository: str, what: str, read: Callable[[bytes], dict[str, T]]) -> dict[str, T]:
        """The first page of a list of this repository, the newest entries first."""
        path = f"/acr/v1/{self.requests.quote_repository(repository)}/_{what}?{urlencode({'n': PAGE, **NEWEST_FIRST})}"
        call = f"listing the newest {what} of {repository}"
        reply = await self.requests.get(path, call)
        try:
            return read(reply.body) if reply is not None else {}
        except wire.MalformedAnswer as error:
            raise failures.malformed_list(self.requests.login_server, call, error) from None

    async def read_subjects(self, inventory: RepositoryInventory, questions: SubjectQuestions) -> RepositoryInventory:
        """
        Add what the registry answers to these questions about subjects.

        A question that it does not answer is noted in the inventory, and is not asked again.
        """
        return await self._edges.answer(inventory, questions)

    async def read_contents(self, inventory: RepositoryInventory) -> tuple[dict[Digest, Content | None], int]:
        """
        The content of every manifest, and how many manifests had to be read for that.

        The content is None if the manifest cannot be read or does not give its sizes. An index
        occupies only its own document, whose size the listing gives. Results are not cached.
        """
        contents: dict[Digest, Content | None] = dict.fromkeys((*inventory.manifests, *inventory.tags_of))
        pending = []
        for digest in contents:
            manifest, body = inventory.manifests.get(digest), self._edges.bodies.get((inventory.name, digest))
            if body is not None:
                contents[digest] = body.content
            elif manifest is not None and manifest.is_index and manifest.size and manifest.known:
                contents[digest] = Content(manifest.size)
            else:
                pending.append(digest)

        async def read_content(digest: Digest) -> None:
            try:
                body = await self._edges.read_body(inventory.name, digest)
            except (RegistryUnreachable, RegistryForbidden):
                raise
            except RegistryError:
                return
            contents[digest] = body.content if body is not None else None

        await gather([partial(read_content, digest) for digest in pending], limit=self._concurrency)
        return contents, len(pending)

    async def resolves(self, repository: str, name: str) -> bool:
        """Can this tag or digest be pulled, listed or not?"""
        which = {"digest": name} if ":" in name else {"tag": name}
        path = self.requests.manifest_path(repository, **which)
        call = f"looking for {repository}{'@' if ':' in name else ':'}{name}"
        return await self.requests.get_manifest(path, call) is not None

    async def has_attributes(self, repository: str, name: str) -> bool:
        """Does this tag (and its manifest), or this digest, exist, listed or not, even if it cannot be pulled?"""
        digest = name
        if ":" not in name:
            call = f"reading the attributes of {repository}:{name}"
            reply = await self.requests.get(self.requests.attributes_path(repository, tag=name), call)
            if reply is None:
                return False
            digest = self._read_digest(reply, call)
        path = self.requests.attributes_path(repository, digest=digest)
        return await self.requests.get(path, f"reading the attributes of {repository}@{digest}") is not None

    async def read_document(self, repository: str, digest: Digest) -> wire.Document | None:
        """Read a manifest byte for byte and check its digest; None if it does not exist."""
        path = self.requests.manifest_path(repository, digest=digest)
        call = f"reading manifest {repository}@{digest}"
        reply = await self.requests.get_manifest(path, call)
        if reply is None:
            return None
        if not bodies.has_digest(reply.body, digest):
            raise RegistryError(
                "the response does not match this digest.",
                where=failures.where(self.requests.login_server, call),
                remedy="Check whether a proxy answers in the registry's place, and run again.",
            )
        return wire.Document(reply.body, reply.headers.get("Content-Type", "").partition(";")[0].strip())

    async def untag(self, repository: str, tag: str) -> OutcomeKind:
        """Remove one tag and nothing else: `deleted`, `gone` or `locked`."""
        return await self._delete(self.requests.attributes_path(repository, tag=tag), f"untagging {repository}:{tag}")

    async def delete_manifest(self, repository: str, digest: Digest) -> OutcomeKind:
        """Delete a manifest **and every tag on it**: `deleted`, `gone` or `locked`."""
        path = self.requests.manifest_path(repository, digest=digest)
        return await self._delete(path, f"deleting manifest {repository}@{digest}")

    async def _delete(self, path: str, call: str) -> OutcomeKind:
        reply = await self.requests.send(Category.DELETE, "DELETE", path, call)
        if reply.status in (200, 202, 204):
            return OutcomeKind.DELETED
        if failures.is_missing(reply):
            # After an attempt whose answer was lost, that attempt most likely deleted it.
            return OutcomeKind.DELETED if reply.uncertain else OutcomeKind.GONE
        if reply.status == 405:
            return OutcomeKind.LOCKED
        raise failures.refused(self.requests.login_server, call, reply, roles.DELETE)

    async def unlock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        """
        Allow deleting and writing a tag, or the manifest `digest` if `lock.tag` is None.

        Returns the digest of what was unlocked: another one if the tag has moved, None if the tag
        or manifest no longer exists.
        """
        return await self._set_lock(repository, digest, Lock(lock.tag, True, True), "unlocking")

    async def lock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        """Set the attributes in `lock` on this tag or manifest; returns the same as `unlock`."""
        return await self._set_lock(repository, digest, lock, "locking")

    async def _set_lock(self, repository: str, digest: Digest, lock: Lock, verb: str) -> Digest | None:
        if lock.tag is not None:
            path = self.requests.attributes_path(repository, tag=lock.tag)
            call = f"{verb} {repository}:{lock.tag}"
        else:
            path = self.requests.attributes_path(repository, digest=digest)
            call = f"{verb} manifest {repository}@{digest}"
        attributes = msgspec.json.encode({"deleteEnabled": lock.delete_enabled, "writeEnabled": lock.write_enabled})
        reply = await self.requests.send(Category.WRITE, "PATCH", path, call, content=attributes)
        if failures.is_missing(reply):
            return None
        if reply.status != 200:
            raise failures.refused(self.requests.login_server, call, reply, roles.CHANGE_LOCKS)
        return digest if lock.tag is None else self._read_digest(reply, call)

    def _read_digest(self, reply: Reply, call: str) -> Digest:
        """The digest that a tag names, of an answer with its attributes."""
        try:
            return wire.read_tag(reply.body).digest
        except wire.MalformedAnswer as error:
            raise RegistryError(
                f"the response does not describe a tag: {quoted(str(error))}.",
                where=failures.where(self.requests.login_server, call),
                remedy="Check whether a proxy answers in the registry's place.",
            ) from None

    async def _read_repository(self, name: str) -> wire.RepositoryAttributes:
        """
        The attributes of the repository itself.

        An answer that does not tell is an error: otherwise a lock could be overlooked.
        """
        call = f"reading the attributes of {name}"
        reply = await self.requests.get(self.requests.attributes_path(name), call)
        if reply is None:
            return wire.RepositoryAttributes(locked=False, put_aside=False, manifests=0, tags=0)
        try:
            return wire.read_repository(reply.body, name)
        except wire.MalformedAnswer as error:
            seen = f"the response does not describe the repository: {quoted(str(error))}."
            raise failures.not_listed(self.requests.login_server, call, seen) from None
