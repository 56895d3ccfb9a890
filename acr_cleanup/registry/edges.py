"""Read the graph of one repository: children and subjects from manifest bodies, and lists of referrers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial

from msgspec import structs

from acr_cleanup.concurrency import gather
from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.known_bodies import BodyMemory
from acr_cleanup.core.references import Digest
from acr_cleanup.core.subjects import SubjectQuestions
from acr_cleanup.core.verification import full_name
from acr_cleanup.errors import RegistryError, RegistryForbidden, RegistryUnreachable
from acr_cleanup.quoting import quoted
from acr_cleanup.registry import bodies, failures, wire
from acr_cleanup.registry.requests import RegistryRequests


class EdgeReader:
    """
    Reads bodies and lists of referrers, each once in a run. Bodies that earlier runs read are `known`.

    Every method raises as `AcrRegistry` does.
    """

    def __init__(self, requests: RegistryRequests, known: BodyMemory, *, concurrency: int) -> None:
        self._requests = requests
        self._known = known
        self._concurrency = concurrency
        # A digest's content never changes, so it is read once. The key holds the repository too:
        # a repository may list a manifest whose content it has lost, while another still has it.
        self.bodies: dict[tuple[str, Digest], bodies.ManifestBody] = {}
        # Only the subject of a possible referrer is stored: there may be very many of them.
        self._subjects: dict[str, dict[Digest, Digest | None]] = {}
        # Repository -> manifests whose referrers were listed.
        self._asked: dict[str, set[Digest]] = {}
        # Repository -> possible referrers that existed when its first list was requested. A later
        # one may be missing in these lists.
        self._covered: dict[str, frozenset[Digest]] = {}
        # Repositories for which the registry has no lists of referrers.
        self._without_lists: set[str] = set()
        # (repository, tag or digest) in use that did not exist when asked for. It is not asked for
        # again: one pushed since then is listed, or cannot be running yet.
        self._absent: set[tuple[str, str]] = set()

    async def read_bodies(self, inventory: RepositoryInventory) -> RepositoryInventory:
        """
        Add children and subjects from the bodies that `inventory.unread` names.

        Manifests and tags that another client deleted since the lists were read are left out.
        """
        inventory, tried = await self._settle(inventory)
        inventory = self._recall(inventory)
        while pending := [digest for digest in inventory.unread if digest not in tried]:
            tried.update(pending)
            gone: set[Digest] = set()
            inventory = inventory.with_edges(await self._read_manifests(inventory, pending, gone))
            if gone:
                inventory, unsettled = await self._settle(inventory.without(gone), gone)
                tried |= unsettled
        return await self._with_earlier_lists(inventory)

    async def answer(self, inventory: RepositoryInventory, questions: SubjectQuestions) -> RepositoryInventory:
        """
        Add what the registry answers to these questions.

        A body that cannot be read becomes `unreadable`, and a list that cannot be read `unlistable`.
        """
        if questions.bodies:
            inventory = await self._read_subjects(inventory, questions.bodies)
        if questions.referrers:
            inventory = await self._list_referrers(inventory, questions.referrers)
        return inventory

    async def with_unlisted(self, inventory: RepositoryInventory) -> RepositoryInventory:
        """Add tags and manifests that are in use and can be pulled, but are not listed."""
        repository = inventory.name
        tags: list[Tag] = []
        manifests: list[wire.ListedManifest] = []

        async def read_attributes(path: str, name: str) -> bytes | None:
            reply = await self._requests.get(path, f"reading the attributes of {full_name(repository, name)}")
            if reply is None:
                self._absent.add((repository, name))
                return None
            return reply.body

        async def read_tag(name: str) -> None:
            body = await read_attributes(self._requests.attributes_path(repository, tag=name), name)
            if body is not None:
                tags.append(wire.read_tag(body))

        async def read_manifest(digest: Digest) -> None:
            body = await read_attributes(self._requests.attributes_path(repository, digest=digest), digest)
            if body is not None:
                manifests.append(wire.read_manifest(body))

        absent = {name for of_repository, name in self._absent if of_repository == repository}
        # A used name may be any text; one that is not a tag cannot exist in the registry.
        names = sorted(filter(self._requests.is_tag, inventory.missing_tags(inventory.used_tags) - absent))
        digests = sorted(inventory.used - inventory.manifests.keys() - inventory.unlisted - absent)
        jobs = [*(partial(read_tag, name) for name in names), *(partial(read_manifest, digest) for digest in digests)]
        try:
            await gather(jobs, limit=self._concurrency)
        except wire.MalformedAnswer as error:
            seen = f"the response does not describe a tag or manifest: {quoted(str(error))}."
            call = f"reading unlisted tags and manifests of {repository}"
            raise failures.not_listed(self._requests.login_server, call, seen) from None
        inventory = replace(inventory, tags=(*inventory.tags, *tags)) if tags else inventory
        return with_listed(inventory, manifests)

    async def read_edges(self, repository: str, manifest: Manifest) -> Manifest | None:
        """This manifest with its edges; None if it does not exist. Raises `RegistryError`."""
        return manifest if manifest.has_no_edges else await self._with_body(repository, manifest, set())

    async def read_body(self, repository: str, digest: Digest) -> bodies.ManifestBody | None:
        """Read one manifest; None if it is missing, malformed, or does not match its digest."""
        path = self._requests.manifest_path(repository, digest=digest)
        reply = await self._requests.get_manifest(path, f"reading manifest {repository}@{digest}")
        try:
            return bodies.read_body(reply.body, digest, reply.headers.get("Content-Type", "")) if reply else None
        except wire.MalformedAnswer:
            return None

    # -- children and subjects ---------------------------------------------------------------------

    async def _settle(
        self, inventory: RepositoryInventory, gone: Collection[Digest] = ()
    ) -> tuple[RepositoryInventory, set[Digest]]:
        """
        Request each manifest that a tag names and no list has. If it does not exist, request the tag.

        Such a manifest is unlisted, or another client deleted it between the list of tags and that of
        manifests. Returns the manifests for which even the tag gives no other answer.

        gone: manifests that do not exist.
        """
        unsettled: set[Digest] = set()
        moved: set[str] = set()
        while missing := sorted(inventory.unlisted - unsettled):
            jobs = [partial(self._find, inventory, digest, known_to_be_gone=digest in gone) for digest in missing]
            answers = await gather(jobs, limit=self._concurrency)
            manifests = [answer for answer in answers if isinstance(answer, wire.ListedManifest)]
            tags: dict[str, Tag | None] = {}
            for digest, answer in zip(missing, answers, strict=True):
                if answer is None or (isinstance(answer, dict) and not moved.isdisjoint(answer)):
                    unsettled.add(digest)
                elif isinstance(answer, dict):
                    tags |= answer
            moved |= tags.keys()
            inventory = with_listed(inventory.with_tags(tags), manifests)
        return inventory, unsettled

    async def _find(
        self, inventory: RepositoryInventory, digest: Digest, *, known_to_be_gone: bool
    ) -> wire.ListedManifest | dict[str, Tag | None] | None:
        """
        A manifest that is not listed; otherwise its tags as they are now.

        None if the registry does not tell, or still says that a tag names this manifest.
        """
        try:
            manifest = None if known_to_be_gone else await self._read_attributes(inventory.name, digest)
            if manifest is not None:
                return manifest
            tags = {tag.name: await self._read_tag(inventory.name, tag.name) for tag in inventory.tags_of[digest]}
        except (RegistryUnreachable, RegistryForbidden):
            raise
        except (RegistryError, wire.MalformedAnswer):
            return None
        return None if any(tag is not None and tag.digest == digest for tag in tags.values()) else tags

    async def _read_tag(self, repository: str, name: str) -> Tag | None:
        path = self._requests.attributes_path(repository, tag=name)
        reply = await self._requests.get(path, f"reading the attributes of {repository}:{name}")
        return wire.read_tag(reply.body) if reply is not None else None

    async def _read_manifests(
        self, inventory: RepositoryInventory, digests: Sequence[Digest], gone: set[Digest]
    ) -> list[Manifest]:
        """Read these manifests. Adds to `gone` those that no longer exist."""
        refusals: list[RegistryForbidden] = []

        async def read(digest: Digest) -> Manifest | None:
            try:
                return await self._read_with_edges(inventory, digest, gone)
            except RegistryForbidden as error:
                refusals.append(error)
                return None

        manifests = await gather([partial(read, digest) for digest in digests], limit=self._concurrency)
        if refusals and len(refusals) == len(digests):
            raise refusals[0]
        return [manifest for manifest in manifests if manifest is not None]

    async def _read_with_edges(
        self, inventory: RepositoryInventory, digest: Digest, gone: set[Digest]
    ) -> Manifest | None:
        """A manifest with its edges if they can be read; None if not even its lock can be read."""
        manifest = inventory.manifests.get(digest)
        try:
            if manifest is None:
                # It is not listed: only its attributes tell of a lock.
                listed = await self._read_attributes(inventory.name, digest)
                manifest = listed.manifest if listed is not None else None
                if manifest is None or manifest.is_image:
                    return manifest
            return await self._with_body(inventory.name, manifest, gone)
        except (RegistryUnreachable, RegistryForbidden):
            raise
        except RegistryError:
            return manifest

    async def _with_body(self, repository: str, manifest: Manifest, gone: set[Digest]) -> Manifest | None:
        if manifest.put_aside:
            return await self._read_put_aside(repository, manifest)
        key = (repository, manifest.digest)
        if key not in self.bodies:
            if (recalled := self._known.recall(repository, manifest)) is not None:
                return recalled
            try:
                body = await self.read_body(*key)
            except RegistryError:
                # Someone may have put it aside since it was listed.
                attributes = await self._read_attributes(*key)
                if attributes is None or not attributes.manifest.put_aside:
                    raise
                return await self._read_put_aside(repository, attributes.manifest)
            if body is None:
                if not await self._is_gone(*key):
                    return manifest
                gone.add(manifest.digest)
                return None
            self.bodies[key] = body
            self._known.note(repository, manifest, body.of(manifest))
        return self.bodies[key].of(manifest)

    async def _read_put_aside(self, repository: str, manifest: Manifest) -> Manifest:
        """
        A manifest whose body the registry refuses to show.

        The attributes of an index show its children. The subject of a manifest remains unknown.
        """
        if not manifest.is_index:
            return manifest
        path = self._requests.attributes_path(repository, digest=manifest.digest)
        reply = await self._requests.get(path, f"reading the attributes of {repository}@{manifest.digest}")
        try:
            children = wire.read_manifest(reply.body).references if reply is not None else None
        except wire.MalformedAnswer:
            children = None
        return structs.replace(manifest, children=children or (), known=children is not None)

    async def _is_gone(self, repository: str, digest: Digest) -> bool:
        """
        Did another client delete this manifest since it was listed?

        If the registry still has its attributes, it has only lost the body.
        """
        path = self._requests.attributes_path(repository, digest=digest)
        return await self._requests.get(path, f"reading the attributes of {repository}@{digest}") is None

    async def _read_attributes(self, repository: str, digest: Digest) -> wire.ListedManifest | None:
        path = self._requests.attributes_path(repository, digest=digest)
        reply = await self._requests.get(path, f"reading the attributes of {repository}@{digest}")
        try:
            listed = wire.read_manifest(reply.body) if reply is not None else None
        except wire.MalformedAnswer:
            return None
        return listed if listed is not None and listed.manifest.digest == digest else None

    # -- subjects of possible referrers ------------------------------------------------------------

    def _recall(self, inventory: RepositoryInventory) -> RepositoryInventory:
        """Add the subjects that this run or an earlier one has read."""
        subjects = self._subjects.get(inventory.name, {})
        known = inventory.possible_referrers & subjects.keys()
        recalled = (
            self._known.recall(inventory.name, inventory.manifests[digest])
            for digest in inventory.possible_referrers - known
        )
        of_this_run = (_with_subject(inventory, digest, subjects[digest]) for digest in known)
        return inventory.with_edges((*of_this_run, *(manifest for manifest in recalled if manifest is not None)))

    async def _with_earlier_lists(self, inventory: RepositoryInventory) -> RepositoryInventory:
        """Use the lists of referrers from an earlier check of this repository if they are still complete."""
        name = inventory.name
        if name not in self._asked:
            return inventory
        if newcomers := inventory.possible_referrers - self._covered[name]:
            inventory = await self._read_subjects(inventory, newcomers)
        if inventory.unreadable & newcomers:
            # The lists are older than this manifest, so they do not tell its subject.
            del self._asked[name], self._covered[name]
            return inventory
        return replace(inventory, asked=frozenset(self._asked[name]))

    async def _read_subjects(self, inventory: RepositoryInventory, digests: Iterable[Digest]) -> RepositoryInventory:
        subjects = self._subjects.setdefault(inventory.name, {})
        unreadable: set[Digest] = set()
        gone: set[Digest] = set()

        async def read(digest: Digest) -> None:
            try:
                body = await self.read_body(inventory.name, digest)
                if body is not None:
                    subjects[digest] = body.subject
                    listed = inventory.manifests[digest]
                    self._known.note(inventory.name, listed, body.of(listed))
                elif await self._is_gone(inventory.name, digest):
                    gone.add(digest)
                else:
                    unreadable.add(digest)
            except RegistryUnreachable:
                raise
            except RegistryError:
                unreadable.add(digest)

        digests = tuple(digests)
        await gather([partial(read, digest) for digest in digests], limit=self._concurrency)
        manifests = [_with_subject(inventory, digest, subjects[digest]) for digest in digests if digest in subjects]
        inventory = replace(inventory.with_edges(manifests), unreadable=inventory.unreadable | unreadable)
        return (await self._settle(inventory.without(gone), gone))[0] if gone else inventory

    async def _list_referrers(self, inventory: RepositoryInventory, digests: Iterable[Digest]) -> RepositoryInventory:
        name = inventory.name
        subjects = self._subjects.setdefault(name, {})
        covered = self._covered.setdefault(name, inventory.possible_referrers)
        asked = self._asked.setdefault(name, set())
        unlistable: set[Digest] = set()
        refusals: list[RegistryForbidden] = []
        unlisted: list[Manifest] = []

        async def read(digest: Digest) -> None:
            try:
                referrers = await self._read_referrers(inventory, digest)
                if referrers is None:
                    unlistable.add(digest)
                    return
                for referrer in referrers - inventory.manifests.keys():
                    # The registry deletes an unlisted referrer together with its subject, too.
                    if (manifest := await self._read_with_edges(inventory, referrer, set())) is not None:
                        unlisted.append(manifest)
                        covered_now.add(referrer)
            except RegistryUnreachable:
                raise
            except RegistryError as error:
                unlistable.add(digest)
                if isinstance(error, RegistryForbidden):
                    refusals.append(error)
                return
            asked.add(digest)
            for referrer in referrers & (inventory.possible_referrers | covered_now):
                subjects[referrer] = digest

        covered_now: set[Digest] = set()
        digests = tuple(digests)
        await gather([partial(read, digest) for digest in digests], limit=self._concurrency)
        if refusals and len(refusals) == len(digests):
            raise refusals[0]
        self._covered[name] = covered | covered_now
        inventory = self._recall(inventory.with_edges(unlisted))
        return replace(inventory, asked=inventory.asked | asked, unlistable=inventory.unlistable | unlistable)

    async def _read_referrers(self, inventory: RepositoryInventory, digest: Digest) -> frozenset[Digest] | None:
        """
        The referrers of one manifest; None if the registry does not tell.

        A registry without this API answers 404. The referrers are then the children of the index with
        the tag `sha256-…`. Without this tag there should be none. But a client that pushes a subject and
        no tag must not lose an image, so the bodies are read then.
        https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
        """
        path = f"/v2/{self._requests.quote_repository(inventory.name)}/referrers/{self._requests.quote_digest(digest)}"
        call = f"listing the referrers of {inventory.name}@{digest}"
        if inventory.name not in self._without_lists:
            listed = await self._requests.find_list(path, bodies.read_referrers, call)
            if listed is not None:
                return frozenset(listed.values())
            self._without_lists.add(inventory.name)
        named = (inventory.manifests.get(tag.digest) for tag in inventory.signers_of.get(digest, ()))
        indexes = [manifest for manifest in named if manifest is not None and manifest.is_index and manifest.known]
        return frozenset(child for index in indexes for child in index.children) if indexes else None


def _with_subject(inventory: RepositoryInventory, digest: Digest, subject: Digest | None) -> Manifest:
    return structs.replace(inventory.manifests[digest], subject=subject, known=True)


def with_listed(inventory: RepositoryInventory, listed: Iterable[wire.ListedManifest]) -> RepositoryInventory:
    """The inventory with manifests that no list shows, and with their tags."""
    entries = {entry.manifest.digest: entry for entry in listed}
    shown = ((name, digest) for digest, entry in entries.items() for name in entry.tags)
    if entries and (tags := wire.hidden_tags(shown, inventory.names)):
        inventory = replace(inventory, tags=(*inventory.tags, *tags))
    return inventory.with_edges(entry.manifest for entry in entries.values())
