"""
Requests to one registry: checked paths, complete lists, and responses of a bounded size.

Requests are raw, but the SDK authorizes those that our tokens do not (`sdk_pipeline`).
The SDK's typed list methods drop the media type of a manifest, fail on a missing attribute, follow
any link they are given, and cost several times the CPU. Its typed deletes do not tell whether the
tag or manifest existed. See docs/decisions/0003-raw-requests-through-the-sdk-pipeline.md.
"""

from __future__ import annotations

import itertools
import re
import time
import uuid
from collections.abc import Callable, Container, Mapping, Sized
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlencode, urljoin, urlsplit

from azure.core.rest import HttpRequest

from acr_cleanup.access import roles
from acr_cleanup.access.roles import Right
from acr_cleanup.core.media_types import INDEX_MEDIA_TYPES
from acr_cleanup.errors import NotListed, RegistryError, RegistryForbidden, RegistryUnreachable
from acr_cleanup.quoting import quoted
from acr_cleanup.registry import failures, wire
from acr_cleanup.registry.pace import NO_ANSWER, Category, Pace, Reply
from acr_cleanup.registry.sdk_pipeline import Pipeline
from acr_cleanup.registry.tokens import API_VERSION
from acr_cleanup.registry.transport import TooLargeError, read_bounded

PAGE = 1000
"""
Entries per page; the registry silently reduces larger values.

https://github.com/Azure/acr/issues/749
"""

EMPTY_PAGES = 1000
"""Pages in a row without an entry. A registry may filter a page, but a list must end."""

NEWEST = 100
"""Entries in the first page of the newest. Few are new, and to decode a thousand takes some milliseconds."""

NEWEST_FIRST = MappingProxyType({"orderby": "timedesc"})
"""The order of a list, as part of its query."""

LARGEST_MANIFEST = 4 * 1024 * 1024
"""
Bytes; the registry accepts no larger manifest.

https://learn.microsoft.com/azure/container-registry/container-registry-skus
"""

LARGEST_PAGE = 64 * 1024 * 1024
"""Bytes."""

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

# Only these may become part of a path: `DELETE …/_tags/` or `…/_tags/..` would not name a tag. Of
# their characters, only `/` and `:` are escaped in a segment of a path.
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DIGEST = re.compile(r"sha(?:256|512):[0-9a-f]+")
_NEXT = re.compile(r"<([^<>]*)>\s*;[^,<]*\brel=\"?next\b\"?", re.IGNORECASE)

T = TypeVar("T")


class RegistryRequests:
    """
    Sends the requests of one registry and repeats them as `pace` allows.

    Every method raises `RegistryUnreachable` if no connection is possible, `RegistryForbidden` if
    rights are missing, `IdentityError` if there is no login, and another `RegistryError` if one
    request failed permanently or a name is not valid. In messages, `call` says what a request does.
    """

    def __init__(self, login_server: str, pipeline: Pipeline, pace: Pace) -> None:
        self.login_server = login_server
        self._base = f"https://{login_server}"
        self._pipeline = pipeline
        self._pace = pace
        # The ids of requests are random but for their last twelve digits: a random number for each
        # takes longer than many other parts of a request.
        self._session, self._numbers = str(uuid.uuid4())[:-12], itertools.count(1)
        # The registry's clock at its first response, and our monotonic clock at that moment.
        self._date: tuple[datetime, float] | None = None

    def now(self) -> datetime | None:
        """
        The time of the registry's own clock, in seconds; None before its first dated response.
        """
        if self._date is None:
            return None
        date, at = self._date
        return date + timedelta(seconds=time.monotonic() - at)

    def attributes_path(self, repository: str, *, tag: str | None = None, digest: str | None = None) -> str:
        """The path of the attributes of a tag, of a manifest, or of the repository itself."""
        path = f"/acr/v1/{self.quote_repository(repository)}"
        if tag is not None:
            path = f"{path}/_tags/{self._checked(_TAG, tag, 'tag')}"
        elif digest is not None:
            path = f"{path}/_manifests/{self.quote_digest(digest)}"
        return f"{path}?{urlencode({'api-version': API_VERSION})}"

    def manifest_path(self, repository: str, *, tag: str | None = None, digest: str | None = None) -> str:
        """The path of a manifest itself, by one of its tags or by its digest."""
        path = f"/v2/{self.quote_repository(repository)}/manifests"
        return f"{path}/{self.quote_digest(digest or '') if tag is None else self._checked(_TAG, tag, 'tag')}"

    def quote_repository(self, name: str) -> str:
        """The name of a repository as one segment of a path."""
        return self._checked(_REPOSITORY, name, "repository name").replace("/", "%2F")

    def quote_digest(self, digest: str) -> str:
        """A digest as one segment of a path."""
        return self._checked(_DIGEST, digest, "digest").replace(":", "%3A")

    def check_tag(self, tag: str) -> None:
        """Raise `RegistryError` for text that cannot be a tag."""
        self._checked(_TAG, tag, "tag")

    @staticmethod
    def is_tag(text: str) -> bool:
        """Can a tag have this name?"""
        return _TAG.fullmatch(text) is not None

    def _checked(self, grammar: re.Pattern[str], text: str, kind: str) -> str:
        if not grammar.fullmatch(text):
            raise RegistryError(
                f"{quoted(repr(text))} is not a valid {kind}; no request was sent.",
                where=f"registry {self.login_server}",
                remedy="If it must be deleted, delete it by hand.",
            )
        return text

    async def get(
        self,
        path: str,
        call: str,
        *,
        accept: str = "application/json",
        largest: int = LARGEST_PAGE,
    ) -> Reply | None:
        """GET one resource; None if the registry says that it does not exist."""
        reply = await self.send(Category.READ, "GET", path, call, accept=accept, largest=largest)
        if failures.is_missing(reply):
            return None
        if reply.status != 200:
            raise failures.refused(self.login_server, call, reply, roles.READ)
        return reply

    async def get_manifest(self, path: str, call: str) -> Reply | None:
        """GET a manifest byte for byte; None if the registry says that it does not exist."""
        return await self.get(path, call, accept=MANIFEST_TYPES, largest=LARGEST_MANIFEST)

    async def read_list(
        self,
        path: str,
        read: Callable[[bytes], dict[str, T]],
        call: str,
        right: Right = roles.READ,
        *,
        must_exist: bool = False,
        held: Sized | None = None,
    ) -> dict[str, T]:
        """
        Read all pages of one list, by name; empty if the registry says that it does not exist.

        `read` decodes one page; `right` is the right that a refusal names. `must_exist`: a list that
        does not exist is an error. `held`: where `read` itself adds the entries of each page; they are
        then not returned. Raises `NotListed` if any page is missing or malformed.
        """
        try:
            entries = await self._read_pages(path, read, call, right, held=held)
        except wire.MalformedAnswer as error:
            raise failures.malformed_list(self.login_server, call, error) from None
        except (RegistryUnreachable, RegistryForbidden):
            raise
        except RegistryError as error:
            raise NotListed(error.seen, where=error.where, remedy=error.remedy) from error
        if entries is None and must_exist:
            raise NotListed(
                "the registry answers 404 (not found).",
                where=failures.where(self.login_server, call),
                remedy="Check that its address is that of an Azure container registry, and run again.",
            )
        return entries or {}

    async def find_list(self, path: str, read: Callable[[bytes], dict[str, T]], call: str) -> dict[str, T] | None:
        """Read all pages of one list as `read_list` does; None if it does not exist."""
        try:
            return await self._read_pages(path, read, call, roles.READ)
        except wire.MalformedAnswer as error:
            raise failures.malformed_list(self.login_server, call, error) from None

    async def read_pages(
        self,
        path: str,
        read: Callable[[bytes], dict[str, T]],
        call: str,
        right: Right,
        *,
        absent: Container[int] = (),
    ) -> dict[str, T]:
        """
        Read pages as `read_list` does, but do not turn errors into `NotListed`.

        `absent`: further statuses that mean that the list does not exist.
        """
        return await self._read_pages(path, read, call, right, absent) or {}

    async def read_newest(
        self, path: str, read: Callable[[bytes], dict[str, T]], call: str, is_last: Callable[[dict[str, T]], bool]
    ) -> dict[str, T]:
        """
        Read the pages of one list, the newest entries first, up to the page for which `is_last` is true.

        The first page has `NEWEST` entries.
        """
        pages = self._read_pages(path, read, call, roles.READ, first=NEWEST, order=NEWEST_FIRST, is_last=is_last)
        return await pages or {}

    async def _read_pages(
        self,
        path: str,
        read: Callable[[bytes], dict[str, T]],
        call: str,
        right: Right,
        absent: Container[int] = (),
        *,
        held: Sized | None = None,
        first: int = PAGE,
        order: Mapping[str, str] = MappingProxyType({}),
        is_last: Callable[[dict[str, T]], bool] = lambda _: False,
    ) -> dict[str, T] | None:
        entries: dict[str, T] = {}
        known: Sized = entries if held is None else held
        followed: set[str] = set()
        empty = 0
        size = first
        query = urlencode({"n": size, **order})
        while query:
            followed.add(query)
            reply = await self.send(Category.READ, "GET", f"{path}?{query}", call)
            if len(followed) == 1 and (failures.is_missing(reply) or reply.status in absent):
                return None
            if reply.status != 200:
                raise failures.refused(self.login_server, call, reply, right)
            count = len(known)
            page = read(reply.body)
            if held is None:
                entries |= page
            query = _next_query(reply.headers, self._base, path)
            if query in followed or (page and len(known) == count):
                raise wire.MalformedAnswer("its pages repeat")
            empty = 0 if page else empty + 1
            if empty > EMPTY_PAGES:
                raise wire.MalformedAnswer(f"{empty:,} pages in a row are empty")
            if is_last(page):
                break
            if not query and len(page) >= size:
                # A full page without a link: the list ends exactly here, or a proxy dropped the
                # Link header. Request one more page to find out.
                query = urlencode({"last": next(reversed(page)), "n": PAGE, **order})
            elif query and size < PAGE:
                query = urlencode({**dict(parse_qsl(query, keep_blank_values=True)), "n": PAGE})
            size = PAGE
        return entries

    async def send(
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
        """
        Send one request, repeated as `pace` allows, and return the reply, with any status.

        `largest` bounds the body, in bytes. Raises `RegistryError` if there is no complete reply.
        """
        url = f"{self._base}{path}"

        async def send_once() -> Reply:
            headers = {
                "Accept": accept,
                "User-Agent": self._pipeline.user_agent,
                "x-ms-client-request-id": f"{self._session}{next(self._numbers):012x}",
            }
            if content is not None:
                headers["Content-Type"] = content_type
            request = HttpRequest(method, url, headers=headers, content=content)
            response = await self._pipeline.send(request)
            self._note_date(response.headers.get("Date", ""))
            try:
                body = await read_bounded(response, largest)
            except NO_ANSWER:
                if method != "DELETE":
                    raise
                # The status alone tells whether the deletion was carried out.
                body = b""
            except TooLargeError:
                raise RegistryError(
                    f"the response is larger than {largest // 1024 // 1024} MiB.",
                    where=failures.where(self.login_server, call),
                    remedy="Check container_registry.url, and whether a proxy answers in its place.",
                ) from None
            return Reply(response.status_code, response.headers, body)

        try:
            return await self._pace.run(category, send_once)
        except NO_ANSWER as error:
            raise failures.no_answer(self.login_server, call, error) from error

    def _note_date(self, header: str) -> None:
        if self._date is None and header:
            with suppress(ValueError):
                date = parsedate_to_datetime(header)
                self._date = (date if date.tzinfo else date.replace(tzinfo=UTC), time.monotonic())


def _next_query(headers: Mapping[str, str], base: str, path: str) -> str:
    """
    The query of the next page; empty after the last page.

    `Link: </acr/v1/NAME/_tags?last=…&n=…>; rel="next"`

    Raises `MalformedAnswer` for a link to any other list or host.
    """
    link = headers.get("Link")
    if not link:
        return ""
    match = _NEXT.search(link)
    if match is None:
        raise wire.MalformedAnswer(f"its Link header cannot be parsed ({link!r})")
    here = urlsplit(f"{base}{path}")
    try:
        there = urlsplit(urljoin(f"{base}{path}", match[1]))
    except ValueError:
        raise wire.MalformedAnswer(f"its link to the next page is not a URL ({match[1]!r})") from None
    # Our slashes and colons are escaped; those of the link may not be.
    same_path = unquote(there.path) == unquote(here.path)
    if (there.scheme, there.netloc.lower()) != (here.scheme, here.netloc.lower()) or not same_path or not there.query:
        raise wire.MalformedAnswer(f"its link to the next page leads to another list or host ({match[1]!r})")
    return str(there.query)
