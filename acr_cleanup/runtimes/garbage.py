"""Python's search for garbage, which takes longer than a batch job needs."""

from __future__ import annotations

import atexit
import gc

_MORE_OBJECTS = 200_000
"""Made since the last search, before the next one. A small run makes fewer."""


def relax_gc() -> None:
    """
    Let Python look for reference cycles less often, and no more once the process ends.

    The imports and a plan make many long-lived values without cycles. Scanning them again and again
    takes a tenth of the time of the imports, a quarter of that of a plan, and more for larger registries.
    To search all of them once more at the end takes as long as a tenth of a small run.
    """
    gc.set_threshold(_MORE_OBJECTS, 50, 100)
    atexit.register(gc.freeze)
