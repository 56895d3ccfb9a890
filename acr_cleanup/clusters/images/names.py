"""The names of one registry, in the forms in which objects of a cluster write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from acr_cleanup.core.references import COMPONENT, FULL_PATH_LENGTH, RegistryHost, normalise_host

_COMPONENT = re.compile(COMPONENT).fullmatch


@dataclass(frozen=True, eq=False)
class Names:
    """
    The dictionary with which objects are read.

    ends: each repository path, and each of its ends at a slash.
    lasts: the last components of all repository paths, as bytes; each also with a full stop, as at the end of a sentence.
    folders: the proper beginnings of repository paths, at a slash. unfinished: beginnings within the last component.
    mirrors: upstream host, or host and path -> folder of this registry that holds these images ("" for none).
    """

    registry: RegistryHost
    repositories: frozenset[str]
    mirrors: Mapping[str, str] = field(default_factory=dict)
    ends: frozenset[str] = field(init=False, repr=False)
    lasts: frozenset[bytes] = field(init=False, repr=False)
    folders: frozenset[str] = field(init=False, repr=False)
    unfinished: frozenset[str] = field(init=False, repr=False)

    @classmethod
    def of(cls, registry: RegistryHost, repositories: Iterable[str], mirrors: Mapping[str, str] | None = None) -> Names:
        """
        >>> names = Names.of(RegistryHost("contoso.azurecr.io"), ["shop/web"])
        >>> sorted(names.ends), sorted(names.folders)
        (['shop/web', 'web'], ['shop'])
        """
        return cls(
            registry, frozenset(repositories), {normalise_host(host): to for host, to in (mirrors or {}).items()}
        )

    def __post_init__(self) -> None:
        ends: set[str] = set()
        folders: set[str] = set()
        unfinished: set[str] = set()
        for repository in self.repositories:
            # A longer path is no repository: the registry refuses it.
            if len(repository) > FULL_PATH_LENGTH:
                continue
            parts = repository.split("/")
            if not all(map(_COMPONENT, parts)):
                continue
            for index in range(len(parts)):
                ends.add("/".join(parts[index:]))
                if index:
                    folders.add("/".join(parts[:index]))
            unfinished.update(unfinished_of(repository))
        object.__setattr__(self, "ends", frozenset(ends))
        object.__setattr__(
            self, "lasts", frozenset(f"{end}{stop}".encode() for end in ends if "/" not in end for stop in ("", "."))
        )
        object.__setattr__(self, "folders", frozenset(folders))
        object.__setattr__(self, "unfinished", frozenset(unfinished))

    def is_ours(self, host: str) -> bool:
        return _owns(self.registry, host)

    def mirrored(self, host: str, path: str) -> str:
        """
        The repository that holds this image of another registry; empty if no mirror is configured for its host.

        >>> names = Names.of(RegistryHost("contoso.azurecr.io"), ["hub/library/nginx"], {"docker.io": "hub"})
        >>> names.mirrored("docker.io", "library/nginx")
        'hub/library/nginx'
        """
        prefix, rest = f"{normalise_host(host)}/{path}", ""
        while prefix:
            if (folder := self.mirrors.get(prefix)) is not None:
                return f"{folder}{rest}".strip("/")
            prefix, _, last = prefix.rpartition("/")
            rest = f"/{last}{rest}"
        return ""


@lru_cache(maxsize=4096)
def _owns(registry: RegistryHost, host: str) -> bool:
    return registry.owns(host)


def unfinished_of(repository: str) -> Iterator[str]:
    """
    The beginnings of a path within its last component, as templates write them: `shop/web-{{ variant }}`.

    >>> list(unfinished_of("shop/web-slim"))
    ['shop/web-']
    """
    last = repository.rfind("/") + 1
    return (repository[: match.end()] for match in re.finditer("[-_]", repository) if match.start() >= last)


def keys_of(repository: str) -> tuple[str, ...]:
    """
    The keys under which findings about a repository are filed: itself behind our host, and its ends.

    >>> keys_of("shop/web")
    ('/shop/web', 'shop/web', 'web')
    """
    parts = repository.split("/")
    return (f"/{repository}", *("/".join(parts[index:]) for index in range(len(parts))))
