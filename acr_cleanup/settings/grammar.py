"""What a text may mean: each form of value is read by one function, which refuses with what was seen and what to write."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.clusters.targets import Waiver
from acr_cleanup.core.references import normalise_host
from acr_cleanup.core.selection import EVERYTHING, PatternRefused, compiled
from acr_cleanup.core.shard import MOST, Shard


class Wrong(ValueError):
    """A value that cannot be used: what was seen, and what to write instead."""

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
    `30d`, `12h`, `6w`, `2d3h6m`, or a plain number of days; 0 means that age does not matter. Raises `Wrong`.

    >>> parse_duration("2d3h6m")
    datetime.timedelta(days=2, seconds=11160)
    """
    text = text.strip()
    how = "Write 30d, 12h, 6w, 2d3h6m, or a number of days."
    if re.fullmatch(r"\d+(?:\.\d+)?", text, re.ASCII):
        days = float(text)
        duration = timedelta(days=days) if days <= _LONGEST.days else None
    elif text.startswith("-"):
        raise Wrong(f"{shown(text)} lies in the future.", how)
    else:
        match = _DURATION.fullmatch(text)
        if not text or match is None:
            raise Wrong(f"{shown(text)} is not a duration.", how)
        # Python refuses to read numbers of thousands of digits; a dozen of them are too many already.
        weeks, days_, hours, minutes = (int((group or "").lstrip("0")[:12] or 0) for group in match.groups())
        if match.lastindex == 4 and not any(match.groups()[:3]):
            # Someone who means six months would lose everything that is older than six minutes.
            raise Wrong(f"{shown(text)} might be meant as minutes or as months.", f"Write 0h{text} or {30 * minutes}d.")
        total = weeks * 10080 + days_ * 1440 + hours * 60 + minutes
        duration = timedelta(minutes=total) if total <= _LONGEST.days * 1440 else None
    if duration is None or duration > _LONGEST:
        raise Wrong(f"{shown(text)} is more than 100 years.", how)
    return duration


def parse_registry_url(text: str) -> str:
    """
    The host (and port) of a registry; the bare name of one stays bare. Raises `Wrong`.

    >>> parse_registry_url("https://Contoso.azurecr.io/")
    'contoso.azurecr.io'
    """
    how = "Write the login server alone: contoso.azurecr.io"
    text = text.strip()
    if "@" in text:
        # Not shown: what stands before the @ may be a password.
        raise Wrong("It holds a user name, a password or a digest.", how)
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() != "https":
        raise Wrong(f"{shown(text)} is not reached by https.", how)
    host = (rest if separator else text).removesuffix("/")
    if "/" in host or "?" in host or "#" in host:
        raise Wrong(f"{shown(text)} holds more than a host name.", how)
    if not _HOST.fullmatch(host) or int(_port_of(host) or 443) > 65535:
        raise Wrong(f"{shown(text)} is not a host name.", how)
    if is_bare_name(host) and not _REGISTRY_NAME.fullmatch(host):
        raise Wrong(f"{shown(text)} is not the name of a registry.", how)
    return normalise_host(host)


def is_bare_name(host: str) -> bool:
    return "." not in host and ":" not in host and host.lower() != "localhost"


def _port_of(host: str) -> str:
    return host.rpartition(":")[2] if re.search(r":\d+$", host) else ""


def parse_endpoint(text: str) -> str:
    """An `https` URL of a host, without a final slash; a missing scheme is added. Raises `Wrong`."""
    how = "Write it as https://HOST."
    text = text.strip()
    if "@" in text:
        raise Wrong("It holds a user name or a password.", how)
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Wrong(f"{shown(text)} is not the URL of an endpoint.", how) from error
    port = int(_port_of(parts.netloc) or 443)
    if not _HOST.fullmatch(parts.netloc) or port > 65535 or parts.query or parts.fragment:
        raise Wrong(f"{shown(text)} is not the URL of an endpoint.", how)
    if parts.scheme.lower() != "https":
        raise Wrong(f"{shown(text)} is not an https URL.", how)
    return f"https://{parts.netloc}{parts.path}".rstrip("/")


def parse_environment(text: str) -> str:
    """The name of a cloud, as the Azure tools or as Terraform (ARM_ENVIRONMENT) spell it, in any case. Raises `Wrong`."""
    terraform = {"public": "azurecloud", "usgovernment": "azureusgovernment", "china": "azurechinacloud"}
    name = text.strip().lower()
    name = terraform.get(name, name)
    if name not in CLOUDS:
        raise Wrong(
            f"{shown(text)} is not the name of a cloud.{did_you_mean(nearest(name, [*CLOUDS, *terraform]))}",
            _one_of(CLOUDS),
        )
    return name


def parse_resource_id(text: str) -> tuple[str, str, str]:
    """Subscription, resource group and name of an AKS cluster, from its resource id. Raises `Wrong`."""
    how = "Copy it from `az aks show --query id`."
    match = _RESOURCE_ID.fullmatch(text.strip())
    if match is None:
        raise Wrong(f"{shown(text)} is not the resource id of an AKS cluster.", how)
    subscription, group, name = match.groups()
    return as_guid(subscription), as_resource_group(group), as_cluster_name(name)


WAIVER_FORM = "Write CLUSTER: KIND, as in `production: rollouts.argoproj.io`; the message of the blocker names both."


def parse_waiver(text: str) -> Waiver:
    """A waiver from `CLUSTER: KIND`. Raises `Wrong`."""
    cluster, colon, kind = (part.strip() for part in text.rpartition(":"))
    # A kind, or a group version that is down (`custom.metrics.k8s.io/v1beta1`); never a pattern: what is given up is named.
    if not (cluster and colon and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*(?:/[A-Za-z0-9.-]+)?", kind)):
        raise Wrong(f"{shown(text)} does not name a cluster and a kind.", WAIVER_FORM)
    return Waiver(cluster, kind.lower())


def as_guid(text: str) -> str:
    if not GUID.fullmatch(text.strip()):
        remedy = "Write the id, as `az account show --query id` prints it."
        raise Wrong(f"{shown(text)} is not the id of a subscription.", remedy)
    return text.strip()


def as_resource_group(text: str) -> str:
    if not _RESOURCE_GROUP.fullmatch(text.strip()):
        raise Wrong(f"{shown(text)} cannot be the name of a resource group.", "Write its name, not its resource id.")
    return text.strip()


def as_client_id(text: str) -> str:
    if not GUID.fullmatch(text.strip()):
        # Not shown: people put a secret in the wrong place.
        remedy = "Write the application (client) id, as `az ad app list --query [].appId` prints it."
        raise Wrong("It is not the id of an application.", remedy)
    return text.strip()


def as_tenant_id(text: str) -> str:
    name = text.strip()
    if not (GUID.fullmatch(name) or (re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})+", name))):
        remedy = "Write the id, as `az account show --query tenantId` prints it."
        raise Wrong("It is neither the id nor the name of a tenant.", remedy)
    return name


def as_boolean(text: str) -> bool:
    name = text.strip().lower()
    if name not in ("true", "false"):
        raise Wrong(f"{shown(text)} is neither true nor false.", "Write true or false.")
    return name == "true"


def as_cluster_name(text: str) -> str:
    if not _CLUSTER_NAME.fullmatch(text.strip()):
        remedy = "Write the name that `az aks list` shows, or use resource_id."
        raise Wrong(f"{shown(text)} cannot be the name of an AKS cluster.", remedy)
    return text.strip()


def as_choice(options: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        name = text.strip().lower().replace("_", "-")
        if name not in options:
            raise Wrong(
                f"{shown(text)} is none of the choices.{did_you_mean(nearest(name, options))}", _one_of(options)
            )
        return name

    return parse


def as_whole(least: int, most: int | None = None) -> Callable[[str], int]:
    bounds = f"from {least} to {most}" if most is not None else f"from {least} upward"

    def parse(text: str) -> int:
        # Bounded in length as well: Python refuses to read numbers of thousands of digits.
        if not re.fullmatch(r"[+-]?\d{1,18}", text.strip()):
            raise Wrong(f"{shown(text)} is not a whole number.", f"Write one {bounds}.")
        number = int(text)
        if number < least or (most is not None and number > most):
            raise Wrong(f"{number} is out of range.", f"Write a whole number {bounds}.")
        return number

    return parse


def as_shard(text: str) -> Shard:
    """
    One of n parts, counted from 1: `3/8`. Raises `Wrong`.

    >>> as_shard(" 3 / 8 ")
    Shard(part=3, of=8)
    """
    how = "Write the number of the part, a slash and how many there are: 3/8 is the third of eight."
    match = _SHARD.fullmatch(text.strip())
    if match is None:
        raise Wrong(f"{shown(text)} does not name a part.", how)
    part, of = map(int, match.groups())
    if not 1 <= of <= MOST:
        amount = f"{of} parts, and {MOST} are the most" if of else "no parts"
        raise Wrong(f"{shown(text)} divides the registry into {amount}.", how)
    if not 1 <= part <= of:
        raise Wrong(
            f"{shown(text)} is none of {of} parts.", f"They are numbered from 1 to {of}: write 1/{of} to {of}/{of}."
        )
    return Shard(part, of)


def as_percent(text: str) -> float:
    how = "Write a number above 0, up to 100; leave it out for no limit."
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise Wrong(f"{shown(text)} is not a number.", how)
    if not 0 < number <= 100:
        # Zero might mean "nothing" or, as for max_deletions, "no limit".
        raise Wrong(f"{shown(text)} is no share of the tags that could be a limit.", how)
    return number


def as_text(text: str) -> str:
    if not text.strip():
        raise Wrong("It is empty.", "Give it a value, or leave it out.")
    return text.strip()


def as_pattern(text: str, *, use_regex: bool | None, negatable: bool) -> str:
    """
    A glob, or a regular expression of RE2; with a leading `!` where that is `negatable`. Raises `Wrong`.

    With `use_regex` None, nobody knows which of the two it is, and it is taken as it stands.
    """
    bare = text.removeprefix("!")
    if bare != text and not negatable:
        # Were it to take tags out of the list again, this list could make more tags go.
        remedy = "exclude_tags only says what stays; name in include_tags what may go."
        raise Wrong(f"{shown(text)} begins with an exclamation mark.", remedy)
    if not bare or bare.startswith("!"):
        raise Wrong(f"{shown(text)} takes away no name.", "Write ! and a pattern: !release-*")
    if use_regex is not None:
        (as_regex if use_regex else as_glob)(bare)
    return text


def as_glob(text: str) -> str:
    if not _GLOB.fullmatch(text):
        remedy = "Write a glob such as team/* or v1.?; repositories and tags have keys of their own."
        raise Wrong(f"{shown(text)} matches no repository and no tag.", remedy)
    return text


def as_regex(text: str) -> str:
    """A regular expression for whole names, in which nothing shows that something else was meant. Raises `Wrong`."""
    if text == EVERYTHING:
        return text
    # Each of these would be a valid pattern that protects nothing, where its writer believes that it does.
    if re.search(r"\s", text):
        raise Wrong(f"{shown(text)} holds a space, and no name does.", "Write one pattern per line, without spaces.")
    if "," in re.sub(r"\{\d*,\d*\}", "", text, flags=re.ASCII):
        remedy = "With use_regex, write one pattern per line: commas do not separate them."
        raise Wrong(f"{shown(text)} holds a comma, and no name does.", remedy)
    if _LOOKS_LIKE_A_GLOB.search(text):
        remedy = "Write .* for any text; if a repeated character is what you mean, put it in parentheses."
        raise Wrong(f"{shown(text)} looks like a glob, and use_regex is true.", remedy)
    _compiled(text)
    return text


def as_grouping(text: str) -> str:
    """A regular expression with one group. Raises `Wrong`."""
    text = as_text(text)
    groups = _compiled(text).groups
    if groups != 1:
        counted = "no group" if groups == 0 else f"{groups} groups"
        remedy = "Put what names the group of a tag in parentheses, and only that: ^(dev|main)-; (?:...) is no group."
        raise Wrong(f"{shown(text)} has {counted}, and keep_last_by needs exactly one.", remedy)
    return text


def _compiled(text: str) -> Any:
    try:
        return compiled(text)
    except PatternRefused as refused:
        remedy = (
            "Write it as RE2 has it (https://github.com/google/re2/wiki/Syntax): there are no look-arounds and no back references. "
            "In repositories and include_tags, !PATTERN takes names away."
        )
        raise Wrong(f"{shown(text)} is no regular expression of RE2: {refused}.", remedy) from refused


def as_alias(text: str) -> str:
    host = parse_registry_url(text)
    if is_bare_name(host):
        raise Wrong(f"{shown(text)} is not a whole host name.", "Write it as images use it: images.contoso.com")
    return host


def shown(text: object) -> str:
    """A value as evidence: quoted, on one line, of bearable length."""
    shown = repr(text)
    return shown if len(shown) <= 80 else f"{shown[:76]}…{shown[-1]}"


def _one_of(options: Sequence[str] | Mapping[str, object]) -> str:
    names = list(options)
    return f"Write {', '.join(names[:-1])} or {names[-1]}."


def nearest(text: str, options: Sequence[str]) -> str:
    """The option that this text may be a misspelling of, or nothing."""
    return next(iter(difflib.get_close_matches(text, options, 1, cutoff=0.7)), "")


def did_you_mean(option: str) -> str:
    return f" Did you mean {option}?" if option else ""
