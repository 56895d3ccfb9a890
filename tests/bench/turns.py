"""
Run a module as `python -m` does, and write its longest turns of the event loop to a file.

`python -m tests.bench.turns FILE MODULE ARGUMENTS...`. A turn is one callback: while it runs, no
answer and no signal is handled. CPU seconds of the thread count, so that other work on the machine
does not.
"""

from __future__ import annotations

import asyncio
import json
import runpy
import sys
import time
from pathlib import Path
from unittest.mock import patch

SHOWN = 12


def main() -> None:
    file, module = Path(sys.argv[1]), sys.argv[2]
    turns: list[tuple[float, str]] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        try:
            run(handle)
        finally:
            took = time.thread_time() - began
            if took > 0.02:
                turns.append((took, _callback(handle)))

    sys.argv = [module, *sys.argv[3:]]
    try:
        with patch.object(asyncio.Handle, "_run", timed):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        file.write_text(json.dumps(sorted(turns, reverse=True)[:SHOWN]), encoding="utf-8")


def _callback(handle: asyncio.Handle) -> str:
    """The callback, and where its task waits now or has ended."""
    return repr(getattr(getattr(handle, "_callback", None), "__self__", handle))


if __name__ == "__main__":
    main()
