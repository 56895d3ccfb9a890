"""
What a field says of its value: does it name an image, and may its value be a tag, or a range of versions? Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from acr_cleanup.core.references import DIGEST, TAG

_WHOLE = re.compile(rf":?({TAG}(?:\+[A-Za-z0-9_.-]*)?)(?:@{DIGEST})?").fullmatch
is_image_key = re.compile(r"(?:image|img|repository|repo)(?:name)?$", re.IGNORECASE).search
_WHOLE_DIGEST = re.compile(r"(?:[^@\s]{0,200}@)?(?:sha256[:-])?([0-9a-fA-F]{64})").fullmatch
is_tag_key = re.compile(
    r"(?<!s)tag|stag(?!e)|version|digest|sha|revision|semver|(?:^|[^a-z])(?:ref|ver|rev)(?:$|[^a-z])|Ref$|channel|track|release|build|commit|hash",
    re.IGNORECASE,
).search
# A field that gives the tag of a neighbouring name, whether the registry has that tag or not. `sparkVersion` does not.
_OWN_TAG_KEY = re.compile(
    r"(?:tags?|digest|sha256)$|^(?:image|target|chart|app)?[-_.]?(?:version|revision)$", re.IGNORECASE
).search
# A field that names an image, rather than anything of that name.
is_image_place = re.compile(r"(?:image|repo)[a-z]*(?:\.name|\[\d+\])?$", re.IGNORECASE).search
_FOLDER_KEY = re.compile(r"path|prefix|folder|project|org|repo|namespace|team", re.IGNORECASE).search
_RANGE_KEY = re.compile(r"semver|version|revision|tag|chart|range|constraint", re.IGNORECASE).search
CHART_KEYS = frozenset({"chart", "chartName"})
CHART_VERSIONS = frozenset({"version", "targetRevision", "chartVersion"})
# Helm reads `0.4` as every 0.4.x: https://github.com/Masterminds/semver#basic-comparisons
_PART_OF_VERSION = re.compile(r"\s*v?[0-9]+(?:\.[0-9]+)?\s*").fullmatch
# Fields whose texts list several tags.
_LIST_KEY = re.compile(r"(?:tag|version|revision|channel|release|digest)s$", re.IGNORECASE).search
_LIST = re.compile(r"[,;\s]+")
_LONGEST_LIST, _MOST_ENTRIES = 1_000, 50
_BRANCH_KEY = re.compile(r"branch|revision|ref$|(?:^|[^a-z])ref", re.IGNORECASE).search
_REF = re.compile(r"^\s*refs/(?:heads|tags)/")
_LONGEST_BRANCH = 200
_NO_RANGE_KEY = re.compile(
    r"api|kind|policy|kube|runtime|require|target_?version|helm_?version|terraform", re.IGNORECASE
).search
_RANGE = re.compile(
    r"\s*(?:[~^=<>!].|\*(?![A-Za-z_\"'])|v?[0-9]+(?:\.[0-9]+)*\.[xX*]\b|[0-9][^,]*(?:\s-\s|\|\||,\s*[<>=]|\s[<>=])).*",
    re.DOTALL,
).fullmatch
_TEMPLATE = re.compile(r"\{\{|\$[({A-Za-z_]|%\(|%s|<[A-Za-z_.]+>|^\{[A-Za-z_.]+\}$").search
_LONGEST_TEMPLATE = 500
_NO_TAG_KEY = re.compile(
    r"(?:apiversion|kind|namespace|protocol|^type|policy|subset|kubernetes\.io/revision)$", re.IGNORECASE
).search
# Keys of counts, measures and ports. Build numbers are tags: a `number` may be one.
_QUANTITY_KEY = re.compile(
    r"^(?:min|max)[A-Z_]|(?:replicas?|count|ports?|seconds|timeout|limit|size|weight|priority|retries|cpu|memory|storage|parallelism|completions"
    r"|workers|threads|concurrency|interval|period|duration|min|max|percent|uid|gid|runasuser|runasgroup|fsgroup|[^a-z]level)s?$",
    re.IGNORECASE,
).search
_QUANTITY = re.compile(r"[0-9.]+[a-zA-Z%]{0,2}").fullmatch
# Keys whose values say where and how a thing called like a repository runs.
_THING_KEY = re.compile(
    r"(?:env|environment|stage|profiles?(?:[._-]?active)?|level|mode|tier|team|branch|branches|only|receiver|match|debug|region|zone|enabled)$"
    r"|^(?:name|active)$",
    re.IGNORECASE,
).search
_AFFIX_KEY = re.compile(r"(?:variant|suffix|prefix|flavou?r|arch|architecture|platform)$", re.IGNORECASE).search
_MOST_JOINED = 4
# Words of keys of images and tags. Without them, the rest of the key names the owner.
_IMAGE_WORDS = re.compile(
    r"(?:image|img|repository|repo|registry|name|tag|version|digest|sha256|sha|revision|ref|url|uri|path)s?|[^a-z0-9]"
    r"|(?<![a-z])(?:ver|rev)(?![a-z])",
    re.IGNORECASE,
)


class Value(NamedTuple):
    """A value near a name. `key`: its field, as text; empty in lists."""

    key: str
    value: str


def whole(value: Any) -> str:
    """The value as a tag, if it can be one: a text without blanks, or a number."""
    if isinstance(value, str):
        match = _WHOLE(value.strip())
        return match[1] if match else ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return ""


def entries(value: Value) -> Sequence[str]:
    """
    The tags that a value may mean: those of a list, or the tag that is made of a branch.

    >>> entries(Value("tags", "canary, stable")), entries(Value("note", "canary, stable"))
    (['canary', 'stable'], ('canary, stable',))
    >>> entries(Value("branch", "feature/login")), entries(Value("ref", "refs/heads/main"))
    (('feature-login',), ('main',))
    """
    if "/" in value.value and _BRANCH_KEY(value.key) and len(value.value) < _LONGEST_BRANCH:
        return (_REF.sub("", value.value).replace("/", "-"),)
    is_list = value.key[-1:] in "sS" and len(value.value) < _LONGEST_LIST and _LIST_KEY(value.key) is not None
    return _LIST.split(value.value, _MOST_ENTRIES) if is_list else (value.value,)


def digest_of(value: str) -> str:
    """Return the digest if the whole value is one, with or without its algorithm; otherwise an empty text."""
    match = _WHOLE_DIGEST(value.strip())
    return f"sha256:{match[1].lower()}" if match else ""


def may_be_image(key: object, value: object) -> bool:
    """Does this field name an image, rather than anything of that name?"""
    return is_image_key(str(key)) is not None or "/" in str(value)


def says_tag(key: str) -> bool:
    """
    >>> says_tag("imageTag"), says_tag("version"), says_tag("tagName"), says_tag("kubernetesVersion")
    (True, True, False, False)
    """
    return _OWN_TAG_KEY(key) is not None


def joined(values: Sequence[Value]) -> Iterator[Value]:
    """
    The tags that are made of a tag and its variant, which stand in two fields.

    >>> [value.value for value in joined([Value("tag", "edge"), Value("suffix", "-slim"), Value("prefix", "v")])]
    ['edge-slim', 'v-edge']
    """
    tags = [value for value in values if says_tag(value.key) and whole(value.value)][:_MOST_JOINED]
    for affix in [value for value in values if tags and _AFFIX_KEY(value.key) and value.value][:_MOST_JOINED]:
        text = affix.value.strip("-_")
        is_prefix = affix.key.lower().endswith("prefix")
        yield from (Value(key, f"{text}-{tag}" if is_prefix else f"{tag}-{text}") for key, tag in tags)


def is_part_of_version(value: Value) -> bool:
    """Does this version of a chart select all versions that begin with it?"""
    return value.key in CHART_VERSIONS and _PART_OF_VERSION(value.value) is not None


def may_be_tag(value: Value) -> bool:
    """
    Does its field leave it open that this value is a tag?

    >>> may_be_tag(Value("minReplicas", "3")), may_be_tag(Value("build", "3")), may_be_tag(Value("namespace", "edge"))
    (False, True, False)
    """
    if _NO_TAG_KEY(value.key) is not None:
        return False
    return _QUANTITY_KEY(value.key) is None or _QUANTITY(value.value) is None


def is_of_thing(value: Value) -> bool:
    """
    >>> is_of_thing(Value("APP_ENV", "production")), is_of_thing(Value("channel", "production"))
    (True, False)
    """
    return _THING_KEY(value.key) is not None


def is_folder_key(key: object) -> bool:
    return isinstance(key, str) and _FOLDER_KEY(key) is not None


def is_range(value: Value) -> bool:
    """Does this value select versions of a chart or an artifact, rather than name one?"""
    return (
        _RANGE_KEY(value.key) is not None
        and _NO_RANGE_KEY(value.key) is None
        and len(value.value) < 200
        and _RANGE(value.value) is not None
    )


def is_template(value: Value) -> bool:
    """Is this value a template or a variable in place of a tag, and not of a host: `${REG}/web:1.2`?"""
    if is_tag_key(value.key) is None or len(value.value) >= _LONGEST_TEMPLATE or "}/" in value.value:
        return False
    return _TEMPLATE(value.value) is not None


@lru_cache(maxsize=65_536)
def stem(key: object) -> str:
    """
    Return the part of a key that names the owner of an image or a tag.

    >>> stem("WEB_IMAGE_TAG"), stem("webImage"), stem("image.tag")
    ('web', 'web', '')
    """
    return _IMAGE_WORDS.sub("", str(key)[:200]).lower()
