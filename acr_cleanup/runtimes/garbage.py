"""Python's search for garbage, which takes longer than a batch job needs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def relaxed_gc() -> Iterator[None]:
    """
    Let Python look for reference cycles less often.

    The imports and a plan make many long-lived values without cycles. Scanning them again and again
    takes a tenth of the time of the imports, a quarter of that of a plan, and more for larger registries.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
