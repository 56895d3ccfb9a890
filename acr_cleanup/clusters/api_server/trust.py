"""
The TLS contexts of API servers.

To load a bundle of a hundred authorities takes 20 ms and a megabyte. A run with a hundred clusters
therefore loads the bundles of the environment once, and only if a certificate needs them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

LoadContext: TypeAlias = Callable[[], ssl.SSLContext]


@dataclass(frozen=True, slots=True)
class Trust:
    """
    The CA files (or folders) of the environment, and the contexts that clusters share.

    A proxy that inspects TLS replaces the API server's certificate, which the cluster's own CA then
    does not verify.
    """

    files: tuple[Path, ...] = ()
    _shared: dict[bool, ssl.SSLContext] = field(default_factory=dict, repr=False)

    def contexts(
        self, authority: LoadContext | None, change: Callable[[ssl.SSLContext], None] | None
    ) -> tuple[LoadContext, ...]:
        """
        Return the contexts to try in this order until one trusts the server's certificate.

        Together they trust the same as one context with the cluster's own CA and all `files`.

        authority: makes a context with the cluster's own CA; None for the authorities of the system.
        change: sets what is this cluster's alone; the contexts are then not shared.
        """
        own = partial(self._load, authority, change, with_files=authority is None)
        if authority is None:
            return (partial(self._share, system=True) if change is None else own,)
        if not self.files:
            return (own,)
        # The last one: a file may hold an intermediate certificate of the cluster's own CA.
        together = partial(self._load, authority, change, with_files=True)
        return (own, together) if change is not None else (own, partial(self._share, system=False), together)

    def _share(self, *, system: bool) -> ssl.SSLContext:
        if system not in self._shared:
            if system:
                self._shared[system] = self._load(None, None, with_files=True)
            else:
                (kind, first), *rest = self._locations()
                context = ssl.create_default_context(**{kind: first})  # type: ignore[arg-type]
                self._shared[system] = _add(_relaxed(context), rest)
        return self._shared[system]

    def _load(
        self, authority: LoadContext | None, change: Callable[[ssl.SSLContext], None] | None, *, with_files: bool
    ) -> ssl.SSLContext:
        context = _relaxed(authority() if authority is not None else ssl.create_default_context())
        if with_files:
            _add(context, self._locations())
        if change is not None:
            change(context)
        return context

    def _locations(self) -> Iterator[tuple[str, str]]:
        # Two variables often name the same file.
        for path in dict.fromkeys(path.resolve() for path in self.files):
            yield "capath" if path.is_dir() else "cafile", str(path)


def _add(context: ssl.SSLContext, locations: Iterable[tuple[str, str]]) -> ssl.SSLContext:
    for kind, path in locations:
        context.load_verify_locations(**{kind: path})
    return context


def _relaxed(context: ssl.SSLContext) -> ssl.SSLContext:
    # By default, Python 3.13 refuses certificates from the CAs of older clusters, which other
    # clients accept.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
