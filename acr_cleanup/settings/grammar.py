"""
Parsers of option values: text in, value out, `InvalidOption` with a remedy if the text is invalid.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.core.references import normalise_host
from acr_cleanup.core.selection import EVERYTHING, PatternRefused, compiled
from acr_cleanup.core.shard import MOST, Shard

if TYPE_CHECKING:
    from acr_cleanup.clusters.target import Waiver


class InvalidOption(ValueError):
    """An option has an invalid value. `remedy` says what to write instead."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.remedy = remedy


_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?", re.ASCII)
_LONGEST = timedelta(days=36525)
GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
_RESOURCE_GROUP = re.compile(r"[\w().-]{0,89}[\w()-]")
_CLUSTER_NAME = re.compile(r"[A-Za-z0-9](?:[\w-]{0,61}[A-Za-z0-9])?")
_REGISTRY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{3,60}[A-Za-z0-9]")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::\d{{1,5}})?")
_RESOURCE_ID = re.compile(
    r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.ContainerService/managedClusters/([^/]+)/?",
    re.IGNORECASE,
)
_SHARD = re.compile(r"(\d{1,18})\s*/\s*(\d{1,18})", re.ASCII)
_GLOB = re.compile(r"[A-Za-z0-9._/*?\[\]!-]+")
_LOOKS_LIKE_A_GLOB = re.compile(r"^\*|(?<!\\)[A-Za-z0-9]\*$|[-/_]\*")


def parse_duration(text: str) -> timedelta:
    """
    Parse `30d`, `12h`, `6w`, `2d3h6m` or a number of days. 0 means that age does not matter.

    Raises `InvalidOption`.

    >>> parse_duration("2d3h6m")
    datetime.timedelta(days=2, seconds=11160)
    """
    text = text.strip()
    how = "Write 30d, 12h, 6w, 2d3h6m, or a number of days."
    if re.fullmatch(r"\d+(?:\.\d+)?", text, re.ASCII):
        days = float(text)
        duration = timedelta(days=days) if days <= _LONGEST.days else None
    elif text.startswith("-"):
        raise InvalidOption(f"{shown(text)} is negative.", how)
    else:
        match = _DURATION.fullmatch(text)
        if not text or match is None:
            raise InvalidOption(f"{shown(text)} is not a duration.", how)
        # int() raises on thousands of digits. Twelve digits already exceed the longest duration.
        weeks, days_, hours, minutes = (int((group or "").lstrip("0")[:12] or 0) for group in match.groups())
        if match.lastindex == 4 and not any(match.groups()[:3]):
            # A user who means six months would lose everything that is older than six minutes.
            raise InvalidOption(
                f"{shown(text)} can mean minutes or months.",
                f"Write 0h{text} for minutes, or {30 * minutes}d for months.",
            )
        total = weeks * 10080 + days_ * 1440 + hours * 60 + minutes
        duration = timedelta(minutes=total) if total <= _LONGEST.days * 1440 else None
    if duration is None or duration > _LONGEST:
        raise InvalidOption(f"{shown(text)} is more than 100 years.", how)
    return duration


def parse_registry_url(text: str) -> str:
    """
    Parse the host (and port) of a registry. The name of a registry is returned without a domain.

    Raises `InvalidOption`.

    >>> parse_registry_url("https://Contoso.azurecr.io/")
    'contoso.azurecr.io'
    """
    how = "Write the login server alone: contoso.azurecr.io"
    text = text.strip()
    if "@" in text:
        # Do not show the value: the part before the @ may be a password.
        raise InvalidOption("It contains a user name, a password or a digest.", how)
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() != "https":
        raise InvalidOption(f"{shown(text)} is not an https URL.", how)
    host = (rest if separator else text).removesuffix("/")
    if "/" in host or "?" in host or "#" in host:
        raise InvalidOption(f"{shown(text)} contains more than a host name.", how)
    if not _HOST.fullmatch(host) or int(_port_of(host) or 443) > 65535:
        raise InvalidOption(f"{shown(text)} is not a host name.", how)
    if is_bare_name(host) and not _REGISTRY_NAME.fullmatch(host):
        raise InvalidOption(f"{shown(text)} is not the name of a registry.", how)
    return normalise_host(host)


def is_bare_name(host: str) -> bool:
    return "." not in host and ":" not in host and host.lower() != "localhost"


def _port_of(host: str) -> str:
    return host.rpartition(":")[2] if re.search(r":\d+$", host) else ""


def parse_endpoint(text: str) -> str:
    """
    Parse an `https` URL. The scheme may be missing; a final slash is removed.

    Raises `InvalidOption`.
    """
    how = "Write it as https://HOST."
    text = text.strip()
    if "@" in text:
        raise InvalidOption("It contains a user name or a password.", how)
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidOption(f"{shown(text)} is not the URL of an endpoint.", how) from error
    port = int(_port_of(parts.netloc) or 443)
    if not _HOST.fullmatch(parts.netloc) or port > 65535 or parts.query or parts.fragment:
        raise InvalidOption(f"{shown(text)} is not the URL of an endpoint.", how)
    if parts.scheme.lower() != "https":
        raise InvalidOption(f"{shown(text)} is not an https URL.", how)
    return f"https://{parts.netloc}{parts.path}".rstrip("/")


def parse_environment(text: str) -> str:
    """
    Parse the name of a cloud in the spelling of the Azure tools or of Terraform (ARM_ENVIRONMENT).

    Upper and lower case are equal. Raises `InvalidOption`.
    """
    terraform = {"public": "azurecloud", "usgovernment": "azureusgovernment", "china": "azurechinacloud"}
    name = text.strip().lower()
    name = terraform.get(name, name)
    if name not in CLOUDS:
        raise InvalidOption(
            f"{shown(text)} is not the name of a cloud.{did_you_mean(nearest(name, [*CLOUDS, *terraform]))}",
            _one_of(CLOUDS),
        )
    return name


def parse_resource_id(text: str) -> tuple[str, str, str]:
    """Return subscription, resource group and name of an AKS cluster. Raises `InvalidOption`."""
    how = "Copy it from `az aks show --query id`."
    match = _RESOURCE_ID.fullmatch(text.strip())
    if match is None:
        raise InvalidOption(f"{shown(text)} is not the resource id of an AKS cluster.", how)
    subscription, group, name = match.groups()
    return as_guid(subscription), as_resource_group(group), as_cluster_name(name)


WAIVER_FORM = "Write CLUSTER: KIND, as in `production: rollouts.argoproj.io`. The message of the blocker names both."


def parse_waiver(text: str) -> Waiver:
    """Parse `CLUSTER: KIND`. Raises `InvalidOption`."""
    cluster, colon, kind = (part.strip() for part in text.rpartition(":"))
    # A kind, or an unavailable group version (`custom.metrics.k8s.io/v1beta1`). Patterns are
    # invalid, so that a waiver names every kind that it gives up.
    if not (cluster and colon and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*(?:/[A-Za-z0-9.-]+)?", kind)):
        raise InvalidOption(f"{shown(text)} is not a cluster and a kind.", WAIVER_FORM)
    from acr_cleanup.clusters.target import Waiver  # noqa: PLC0415  slow to load, and `--help` imports this module

    return Waiver(cluster, kind.lower())


def as_guid(text: str) -> str:
    if not GUID.fullmatch(text.strip()):
        remedy = "Write the id, as `az account show --query id` prints it."
        raise InvalidOption(f"{shown(text)} is not the id of a subscription.", remedy)
    return text.strip()


def as_resource_group(text: str) -> str:
    if not _RESOURCE_GROUP.fullmatch(text.strip()):
        raise InvalidOption(
            f"{shown(text)} cannot be the name of a resource group.", "Write its name, not its resource id."
        )
    return text.strip()


def as_client_id(text: str) -> str:
    if not GUID.fullmatch(text.strip()):
        # Do not show the value: users sometimes put the secret here.
        remedy = "Write the application (client) id, as `az ad app list --query [].appId` prints it."
        raise InvalidOption("It is not the id of an application.", remedy)
    return text.strip()


def as_tenant_id(text: str) -> str:
    name = text.strip()
    if not (GUID.fullmatch(name) or (re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})+", name))):
        remedy = "Write the id, as `az account show --query tenantId` prints it."
        raise InvalidOption("It is neither the id nor the name of a tenant.", remedy)
    return name


def as_boolean(text: str) -> bool:
    name = text.strip().lower()
    if name not in ("true", "false"):
        raise InvalidOption(f"{shown(text)} is neither true nor false.", "Write true or false.")
    return name == "true"


def as_cluster_name(text: str) -> str:
    if not _CLUSTER_NAME.fullmatch(text.strip()):
        remedy = "Write the name that `az aks list` shows, or use resource_id."
        raise InvalidOption(f"{shown(text)} cannot be the name of an AKS cluster.", remedy)
    return text.strip()


def as_choice(options: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        name = text.strip().lower().replace("_", "-")
        if name not in options:
            raise InvalidOption(
                f"{shown(text)} is not one of the choices.{did_you_mean(nearest(name, options))}", _one_of(options)
            )
        return name

    return parse


def as_whole(least: int, most: int | None = None) -> Callable[[str], int]:
    bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"

    def parse(text: str) -> int:
        # The length is limited too, since int() raises on thousands of digits.
        if not re.fullmatch(r"[+-]?\d{1,18}", text.strip()):
            raise InvalidOption(f"{shown(text)} is not a whole number.", f"Write a whole number {bounds}.")
        number = int(text)
        if number < least or (most is not None and number > most):
            raise InvalidOption(f"{number} is out of range.", f"Write a whole number {bounds}.")
        return number

    return parse


def as_shard(text: str) -> Shard:
    """
    Parse the part of a registry, counted from 1: `3/8`. Raises `InvalidOption`.

    >>> as_shard(" 3 / 8 ")
    Shard(part=3, of=8)
    """
    how = "Write the number of the part, a slash and the number of parts: 3/8 is the third of eight."
    match = _SHARD.fullmatch(text.strip())
    if match is None:
        raise InvalidOption(f"{shown(text)} is not a part such as 3/8.", how)
    part, of = map(int, match.groups())
    if not 1 <= of <= MOST:
        raise InvalidOption(f"{shown(text)} has {of} parts; the number of parts is from 1 to {MOST}.", how)
    if not 1 <= part <= of:
        raise InvalidOption(
            f"{shown(text)} is not one of the {of} parts.",
            f"The parts are numbered from 1 to {of}: write 1/{of} to {of}/{of}.",
        )
    return Shard(part, of)


def as_percent(text: str) -> float:
    how = "Write a number above 0 and up to 100, or remove the option for no limit."
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise InvalidOption(f"{shown(text)} is not a number.", how)
    if not 0 < number <= 100:
        # Zero is refused: it can mean "delete nothing" or, as for max_deletions, "no limit".
        raise InvalidOption(f"{shown(text)} is not a percentage above 0 and up to 100.", how)
    return number


def as_text(text: str) -> str:
    if not text.strip():
        raise InvalidOption("It is empty.", "Give it a value, or remove it.")
    return text.strip()


def as_pattern(text: str, *, use_regex: bool | None, negatable: bool) -> str:
    """
    Check a glob or an RE2 regular expression. Raises `InvalidOption`.

    use_regex: which of the two. None if the user's value is invalid: the pattern is not checked.
    negatable: may it begin with `!`?
    """
    bare = text.removeprefix("!")
    if bare != text and not negatable:
        # A negation here would remove tags from the kept ones, so a keep rule could delete more.
        remedy = "exclude_tags only lists tags to keep. List the tags that may be deleted in include_tags."
        raise InvalidOption(f"{shown(text)} begins with an exclamation mark.", remedy)
    if not bare or bare.startswith("!"):
        raise InvalidOption(f"{shown(text)} has no pattern after the !.", "Write ! and a pattern: !release-*")
    if use_regex is not None:
        (as_regex if use_regex else as_glob)(bare)
    return text


def as_glob(text: str) -> str:
    if not _GLOB.fullmatch(text):
        remedy = "Write a glob such as team/* or v1.?. Repositories and tags have separate keys."
        raise InvalidOption(f"{shown(text)} cannot match any repository or tag.", remedy)
    return text


def as_regex(text: str) -> str:
    """Check a regular expression for whole names. Raises `InvalidOption`."""
    if text == EVERYTHING:
        return text
    # Each of the refused texts is a valid pattern that matches no name. Its tags would not be kept,
    # although the user believes that they are.
    if re.search(r"\s", text):
        raise InvalidOption(
            f"{shown(text)} contains a space, and names have no spaces.", "Write one pattern per line, without spaces."
        )
    if "," in re.sub(r"\{\d*,\d*\}", "", text, flags=re.ASCII):
        remedy = "With use_regex, write one pattern per line: commas do not separate them."
        raise InvalidOption(f"{shown(text)} contains a comma, and names have no commas.", remedy)
    if _LOOKS_LIKE_A_GLOB.search(text):
        remedy = "Write .* for any text. If you mean a repeated character, put it in parentheses."
        raise InvalidOption(f"{shown(text)} looks like a glob, and use_regex is true.", remedy)
    _compiled(text)
    return text


def as_grouping(text: str) -> str:
    """Check a regular expression with exactly one group. Raises `InvalidOption`."""
    text = as_text(text)
    groups = _compiled(text).groups
    if groups != 1:
        counted = "no group" if groups == 0 else f"{groups} groups"
        remedy = "Put parentheses around the distinguishing part of the tag only: ^(dev|main)-. (?:...) is not a group."
        raise InvalidOption(f"{shown(text)} has {counted}, and keep_last_by needs exactly one.", remedy)
    return text


def _compiled(text: str) -> Any:
    try:
        return compiled(text)
    except PatternRefused as refused:
        remedy = (
            "Use the syntax of RE2 (https://github.com/google/re2/wiki/Syntax): it has no look-arounds and no back references. "
            "In repositories and include_tags, !PATTERN excludes names."
        )
        raise InvalidOption(f"{shown(text)} is not a regular expression of RE2: {refused}.", remedy) from refused


def as_alias(text: str) -> str:
    host = parse_registry_url(text)
    if is_bare_name(host):
        raise InvalidOption(
            f"{shown(text)} is not a full host name.", "Write it as in image references: images.contoso.com"
        )
    return host


def shown(text: object) -> str:
    """Quote a value for a message: one line of at most 80 characters."""
    line = repr(text)
    return line if len(line) <= 80 else f"{line[:76]}…{line[-1]}"


def _one_of(options: Sequence[str] | Mapping[str, object]) -> str:
    names = list(options)
    return f"Write {', '.join(names[:-1])} or {names[-1]}."


def nearest(text: str, options: Sequence[str]) -> str:
    """Return the option that this text resembles, or an empty text."""
    close = difflib.get_close_matches(text, options, 1, cutoff=0.7)
    # In a short word, one wrong letter is a large part.
    one_letter = (
        option for option in options if len(option) == len(text) > 2 and sum(map(str.__ne__, option, text)) == 1
    )
    return next(iter(close), "") or next(one_letter, "")


def did_you_mean(option: str) -> str:
    return f" Did you mean {option}?" if option else ""
