"""Imports that only note a module, and load it at its first use."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader


@contextmanager
def imported_on_use(*names: str) -> Iterator[None]:
    """
    Let an import of these modules only note them. They are loaded when an attribute of them is used.

    For the parts that a package imports at once, and that a run does not use.
    https://docs.python.org/3/library/importlib.html#implementing-lazy-imports
    """
    finder = _OnUse(frozenset(names))
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _OnUse:
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        del target
        spec = PathFinder.find_spec(name, path) if name in self._names else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec
