"""
References to our registry in any text: a flag, a script, a document in a string. Pure.

An image field contains one reference. In all other text, every whole host name of ours that a
repository follows is read. A complete name is a reference. A name that does not select one image
(`shop/web:$(TAG)`, `shop/web:1.*`) is an open reference, which keeps all images of the repository.
A bare host, the URL of an API and a pattern over repositories are ignored. A template in place of
the repository is returned for a note.

Every expression here reads a bounded stretch of text, so that hostile text is read in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import unquote

from acr_cleanup.core.references import (
    COMPONENT,
    DEFAULT_TAG,
    DIGEST,
    FULL_PATH_LENGTH,
    TAG,
    Digest,
    ImageReference,
    RegistryHost,
    normalise_host,
)


@dataclass(frozen=True, slots=True)
class Mention:
    """
    One reference in a text, and its form.

    `implied`: no tag is written, or an empty one. A neighbour may supply it. `whole`: nothing else is in the text.
    """

    text: str
    reference: ImageReference
    implied: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """The findings in one text. `unclear`: text in place of a repository, to be shown to people."""

    mentions: tuple[Mention, ...] = ()
    unclear: tuple[str, ...] = ()


_NOTHING = Reading()
_CACHED_LENGTH = 1024
_HOST_LENGTH = 255
_SHOWN_LENGTH = 120

_HOST_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"
_PATH_AT = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*")
_TAG_AT = re.compile(TAG)
_DIGEST_AT = re.compile(rf"{DIGEST}(?![0-9A-Za-z])")
_MANIFEST_AT = re.compile(rf"v2/({COMPONENT}(?:/{COMPONENT})*?)/manifests/")
# `\n` of text in text: its letter is no part of the host that follows.
_ESCAPE = re.compile(r"\\(?:[nrtbf]|u[0-9a-fA-F]{4})\Z")
_URL = re.compile(r"(?<![A-Za-z0-9+.-])https?://\Z", re.IGNORECASE)
_USER = re.compile(r"[A-Za-z0-9._%+~:-]@\Z")
_SLASHES = re.compile(r"(?:://|(?<![A-Za-z0-9._~%/-])//)\Z")
_INSIDE = r"\{|\$[A-Za-z_({$\[<]|%[A-Za-z({\[]|\[\[|#\{|\(@"
_TEMPLATE_INSIDE = re.compile(_INSIDE)
# `<name>` is a placeholder, unless it follows a whole word: then it may be markup.
_TEMPLATE = re.compile(rf"{_INSIDE}|<[A-Za-z_.$({{]")
_SEPARATORS = re.compile(r"/?[._-]{0,8}")
# Text after an incomplete tag: templates, patterns, semver ranges, and expressions.
_GOES_ON = re.compile(rf"{_TEMPLATE.pattern}|[*+~^\[]|\\[.dDwW*+-]|[A-Za-z0-9_.-]")
# Code that appends a tag to a repository: `{{ "…" }}:{{ .tag }}`, `"…" + ":" + tag`.
_TAG_FOLLOWS = re.compile(r"[\"')} ]{1,8}(?:[:@][\"' ]{0,3}[{$%]|\+[ ]?[\"'][:@])")
# A version in the next column: `shop/web 1.2`, `shop/web,v1.2`.
_VERSION_FOLLOWS = re.compile(
    r"[\"']?(?:[,;|]|[ \t])[ \t]{0,20}[\"']?(v?[0-9][A-Za-z0-9_.-]{0,127})(?![A-Za-z0-9_.:/@-])"
)
_SHOWN = re.compile(r"(?:\{\{[^{}\n]{0,80}\}\}|[^\s\"'`,;]){1,100}")


def names(text: str, registry: RegistryHost) -> bool:
    """Could this text name our registry? Cheap, and never wrongly no."""
    return _mentioned(text, needles(registry))


def _mentioned(text: str, pieces: tuple[str, ...]) -> bool:
    lower = text.lower()
    return any(piece in lower for piece in pieces)


def finder(registry: RegistryHost) -> Callable[[object], bool]:
    """`names` for one registry and values of any type, where it is asked of very many."""
    pieces = needles(registry)
    shortest = min(map(len, pieces), default=0)

    def found(value: object) -> bool:
        return isinstance(value, str) and len(value) >= shortest and _mentioned(value, pieces)

    return found


@lru_cache(maxsize=64)
def needles(registry: RegistryHost) -> tuple[str, ...]:
    """Pieces of text, one of which is in every spelling of our registry, in lower case."""
    hosts = {normalise_host(host) for host in (registry.login_server, *registry.aliases)} - {""}
    _, _, suffix = normalise_host(registry.login_server).partition(".")
    # Any registry's regional endpoint: what is ours is decided later.
    regional = {f".geo.{suffix}"} if suffix.startswith("azurecr.") else set()
    return tuple(sorted(hosts | regional))


@lru_cache(maxsize=64)
def _hosts(registry: RegistryHost) -> re.Pattern[str]:
    """Our hosts, each followed by the slash before the repository."""
    hosts = sorted({normalise_host(host) for host in (registry.login_server, *registry.aliases)} - {""})
    patterns = [re.escape(host) for host in hosts]
    name, _, suffix = normalise_host(registry.login_server).partition(".")
    if suffix.startswith("azurecr."):
        patterns.append(rf"{re.escape(name)}\.[a-z0-9-]{{1,63}}\.geo\.{re.escape(suffix)}")
    # ASCII: the Kelvin sign is no k.
    return re.compile(rf"(?P<host>{'|'.join(patterns) or '(?!)'})(?::443)?/", re.IGNORECASE | re.ASCII)


def read_text(text: str, registry: RegistryHost) -> Reading:
    """
    Every reference to our registry in a text.

    >>> ours = RegistryHost("contoso.azurecr.io")
    >>> [str(mention.reference) for mention in read_text("--images=contoso.azurecr.io/a:1,nginx", ours).mentions]
    ['contoso.azurecr.io/a:1']
    >>> read_text("contoso.azurecr.io.evil.example/a:1", ours).mentions
    ()
    """
    if not names(text, registry):
        return _NOTHING
    return _cached(text, registry) if len(text) <= _CACHED_LENGTH else _read(text, registry)


TAG_WORDS = re.compile("tag|digest", re.IGNORECASE)
# `tag: 1`, `TAG="1"`, `--image-tag 1`, `<tag>1</tag>`, `"tag" => 1`; after a blank alone, only text with a digit counts as a tag.
_TAG_IN_TEXT = re.compile(
    rf"(?:tag|digest)s?[\\\"'\])]{{0,4}}(?:[ \t]{{0,20}}(?:=>|:=|[=:>])[ \t]{{0,20}}[\\\"'(]{{0,4}}"
    rf"(?P<sure>{DIGEST}|{TAG}|[${{%`])|[ \t]{{1,20}}[\"']?(?P<maybe>{DIGEST}|(?=[A-Za-z_.-]{{0,60}}[0-9]){TAG}))",
    re.IGNORECASE,
)
# A variable at the beginning of a reference, and the rest of it.
_VARIABLE = (
    r"\$\{[A-Za-z_][^{}\s]{0,80}\}|\$\([A-Za-z_][^()\s]{0,80}\)|\$[A-Za-z_][A-Za-z0-9_]{0,80}|\{\{[^{}\n]{1,80}\}\}"
)
_TEMPLATED = re.compile(rf"(?<![A-Za-z0-9._~%}})/:-])(?P<variable>{_VARIABLE})/(?={COMPONENT})")
_MAY_HOLD_HOST = re.compile("reg|hub|acr|repo|host|server|docker|login|prefix|image", re.IGNORECASE)


def tags_in_text(text: str) -> list[str]:
    """Return tags and digests that a plain text labels as such. For a template, return a value that is not a tag."""
    found = (match["sure"] or match["maybe"] for match in _TAG_IN_TEXT.finditer(text))
    return list(dict.fromkeys(found))


@lru_cache(maxsize=64)
def _bare_hosts(registry: RegistryHost) -> re.Pattern[str]:
    hosts = _hosts(registry).pattern.removesuffix("/")
    return re.compile(rf"(?<![A-Za-z0-9._@-])(?:{hosts})/?(?![A-Za-z0-9._:/*@-])", re.IGNORECASE | re.ASCII)


def has_bare_host(text: str, registry: RegistryHost) -> bool:
    """Return whether our host alone occurs here, so that a variable may hold it."""
    return names(text, registry) and _bare_hosts(registry).search(text) is not None


def has_template_of_host(text: str) -> bool:
    """May this text begin a reference with a variable? Cheap, and never wrongly no."""
    return "/" in text and ("$" in text or "{{" in text) and _TEMPLATED.search(text) is not None


def templated(text: str, registry: RegistryHost) -> tuple[Mention, ...]:
    """
    The references that a text would make if its variables held our registry. Without a tag, only those whose variables say so.

    >>> [str(mention.reference) for mention in templated("run $(REG)/shop/web:1", RegistryHost("contoso.azurecr.io"))]
    ['contoso.azurecr.io/shop/web:1']
    """
    host = normalise_host(registry.login_server)
    mentions: list[Mention] = []
    for match in _TEMPLATED.finditer(text):
        # As much as any reference is long.
        rest = text[match.end() : match.end() + 2 * FULL_PATH_LENGTH]
        variable = match["variable"]
        mentions += [
            replace(mention, text=f"{variable}/{mention.text.partition('/')[2]}")
            for mention in _Scan(f"{host}/{rest}", registry).mentions[:1]
            if not mention.implied or _MAY_HOLD_HOST.search(variable)
        ]
    return tuple(mentions)


def is_host(text: str, registry: RegistryHost) -> bool:
    """Is this the registry alone: a host of ours, maybe with a scheme in front and a slash behind?"""
    if not names(text, registry):
        return False
    return registry.owns(re.sub(r"\A[A-Za-z][A-Za-z0-9+.-]*://", "", text.strip()).removesuffix("/"))


# The same arguments and variables stand in thousands of pods.
@lru_cache(maxsize=4096)
def _cached(text: str, registry: RegistryHost) -> Reading:
    return _read(text, registry)


def _read(text: str, registry: RegistryHost) -> Reading:
    """Return all mentions in the text, and in the text with JSON and URL escapes decoded."""
    texts = [text]
    if "\\/" in text:
        texts.append(re.sub(r"\\+/", "/", text))
    if "\\:" in text:  # how Java writes its properties
        texts.append(text.replace("\\:", ":"))
    if "%2f" in text.lower():
        texts.append(unquote(text))
    mentions: dict[ImageReference, dict[Mention, None]] = {}
    unclear: dict[str, None] = {}
    for index, each in enumerate(texts):
        found = _Scan(each, registry)
        for mention in found.mentions:
            if index == 0 or mention.reference not in mentions:
                mentions.setdefault(mention.reference, {})[mention] = None
        unclear.update(found.unclear)
    return Reading(tuple(mention for group in mentions.values() for mention in group), tuple(unclear))


class _Scan:
    """One pass over one text."""

    def __init__(self, text: str, registry: RegistryHost) -> None:
        self._text = text
        self.mentions: list[Mention] = []
        self.unclear: dict[str, None] = {}
        for match in _hosts(registry).finditer(text):
            head = text[max(0, match.start() - _HOST_LENGTH) : match.start()]
            if _begins_host(head):
                is_url = _URL.search(head[-9:]) is not None
                self._after_host(match.start(), match.end(), normalise_host(match["host"]), is_url=is_url)

    def _after_host(self, start: int, at: int, host: str, *, is_url: bool) -> None:
        """Read the text after our host and its slash."""
        text = self._text
        if manifest := _MANIFEST_AT.match(text, at, at + 2 * FULL_PATH_LENGTH):
            self._manifest(start, manifest, host)
            return
        path = _PATH_AT.match(text, at, at + 2 * FULL_PATH_LENGTH)
        end = path.end() if path else at
        separators = _SEPARATORS.match(text, end)
        onward = separators.end() if separators else end
        if _TEMPLATE_INSIDE.match(text, end) or ((onward > end or not path) and _TEMPLATE.match(text, onward)):
            unclear = True
        else:
            # No runtime takes capitals in a repository: this cannot start, but its author should know.
            unclear = text[onward : onward + 1].isascii() and text[onward : onward + 1].isupper()
        if unclear and not is_url:
            self.unclear[self._shown(start)] = None
        if unclear or path is None or text[end : end + 1] == "/":
            return
        repository = path.group()
        if len(repository) > FULL_PATH_LENGTH:
            return
        following = text[end : end + 1]
        if following == ":":
            self._tagged(start, end + 1, host, repository, is_url=is_url)
        elif following == "@":
            self._with_digest(start, end + 1, host, repository, None)
        elif not is_url and following != "*":
            self._untagged(start, end, host, repository)

    def _untagged(self, start: int, end: int, host: str, repository: str) -> None:
        """Return the latest image, or the image that the text around it selects."""
        self._add(start, end, host, repository, DEFAULT_TAG, implied=True)
        if _TAG_FOLLOWS.match(self._text, end):
            self._open(start, host, repository)
        elif version := _VERSION_FOLLOWS.match(self._text, end):
            self._add(start, version.end(), host, repository, version[1])

    def _manifest(self, start: int, match: re.Match[str], host: str) -> None:
        """`/v2/<repository>/manifests/<tag or digest>` of the registry's API."""
        repository, end = match[1], match.end()
        if digest := _DIGEST_AT.match(self._text, end):
            self._add(start, digest.end(), host, repository, None, Digest(digest.group()))
        else:
            self._tagged(start, end, host, repository, is_url=True)

    def _tagged(self, start: int, at: int, host: str, repository: str, *, is_url: bool) -> None:
        """Read the text after the colon that follows a repository."""
        text = self._text
        tag = _TAG_AT.match(text, at)
        if tag is None:
            if text[at : at + 1] == "@":
                self._with_digest(start, at + 1, host, repository, None)
            elif at >= len(text) or text[at].isspace() or text[at] in "\"'`,;)]}>|\\":
                if not is_url:
                    self._add(start, at, host, repository, None, implied=True)
            else:
                self._open(start, host, repository)
        elif text[tag.end() : tag.end() + 1] == "@":
            self._with_digest(start, tag.end() + 1, host, repository, tag.group())
        elif _GOES_ON.match(text, tag.end()) or (tag.group()[-1] in ".-" and text[tag.end() : tag.end() + 1] == "("):
            self._open(start, host, repository)
        else:
            self._add(start, tag.end(), host, repository, tag.group())
            # A full stop may end the sentence, and a tag may end in one.
            bare = tag.group().rstrip("._-")
            if bare and bare != tag.group():
                self._add(start, at + len(bare), host, repository, bare)

    def _with_digest(self, start: int, at: int, host: str, repository: str, tag: str | None) -> None:
        digest = _DIGEST_AT.match(self._text, at)
        if digest is None:
            self._open(start, host, repository)
        else:
            self._add(start, digest.end(), host, repository, tag, Digest(digest.group()))

    def _open(self, start: int, host: str, repository: str) -> None:
        reference = ImageReference(host, repository, None, None)
        self.mentions.append(Mention(self._shown(start), reference))

    def _add(
        self,
        start: int,
        end: int,
        host: str,
        repository: str,
        tag: str | None,
        digest: Digest | None = None,
        *,
        implied: bool = False,
    ) -> None:
        text = self._text
        # Only what could be a whole value is looked at: long text is not searched once per mention.
        before = text[:start] if start <= 32 else "-"
        whole = not text[end : end + 32].strip() and re.fullmatch(r"\s*(?:[a-z][a-z0-9+.-]*://)?", before) is not None
        reference = ImageReference(host, repository, tag, digest)
        self.mentions.append(Mention(text[start:end], reference, implied, whole))

    def _shown(self, start: int) -> str:
        shown = _SHOWN.match(self._text, start, start + _SHOWN_LENGTH)
        return shown.group() if shown else self._text[start : start + _SHOWN_LENGTH]


def _begins_host(head: str) -> bool:
    """Return whether a host may begin where this text ends. It may not after a longer host, a path or a user name."""
    run = head[len(head.rstrip(_HOST_CHARACTERS)) :]
    if run.strip("-_"):
        escape = _ESCAPE.search(head[-6:])
        return escape is not None and escape.group()[1:] == run
    head = head[: len(head) - len(run)]
    if head.endswith("/"):
        return _SLASHES.search(head) is not None
    return not _USER.search(head)
