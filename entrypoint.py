"""Where the container starts: pick the runtime, call main, exit with its code."""

import os
import sys

if __name__ == "__main__":
    if sys.argv[1:] or os.environ.get("GITHUB_ACTIONS") != "true":
        from acr_cleanup.cli import entry

        entry()
    from acr_cleanup.pipeline import run
    from acr_cleanup.runtimes.github import GitHub

    sys.exit(run(GitHub()))
