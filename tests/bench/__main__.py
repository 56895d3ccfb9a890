"""
`make bench`: print one page in Markdown and write it with JSON.

Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench import clusters, image, ledger, mentions, one_repository, pulls, registry, services, size, starting
from tests.bench.rows import as_json, as_markdown

SECTIONS = {
    "One large cluster": clusters.large_cluster,
    "Mentions": mentions.mentions,
    "A hundred clusters": clusters.many_clusters,
    "Other services of Azure": services.many_services,
    "Pull logs": pulls.million_pulls,
    "Requests": registry.requests,
    "Distance": registry.distance,
    "One repository": one_repository.one_repository,
    "Rate": registry.rate,
    "Size": size.size,
    "Ledger": ledger.ledger,
    "Start-up": starting.start_up,
    "Image": image.image,
}


def main() -> int:
    wanted = [title for title in sys.argv[1:] if not title.startswith("-")]
    chosen = [(title, measure()) for title, measure in SECTIONS.items() if not wanted or title in wanted]
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    page = as_markdown(chosen)
    (folder / "bench.md").write_text(page, encoding="utf-8")
    (folder / "bench.json").write_text(as_json(chosen), encoding="utf-8")
    print(page)
    return int(not all(row.met for _, rows in chosen for row in rows))


if __name__ == "__main__":
    sys.exit(main())
