"""
The yardstick: the requests of `acr purge --filter 'REPO:.*' --ago 30d --untagged`, replayed.

`python -m tests.bench.peer CONCURRENCY ENDPOINT` sends what Microsoft's acr-cli (2026-03-12) was
seen to send: lists of 100 entries, one deletion for each old tag page by page, then one for each
manifest without a tag. It reads no cluster, looks at nothing twice and proves nothing. In its
favour, connections are reused, and the answers are not decoded more than needed.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec

NAME = "shop/web"
_NEXT = re.compile(r"<([^>]*)>")


async def main() -> None:
    concurrency, endpoint = int(sys.argv[1]), sys.argv[2]
    before = f"{datetime.now(UTC) - timedelta(days=30):%Y-%m-%dT%H:%M:%S}"
    context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    connector = aiohttp.TCPConnector(ssl=context, limit=concurrency)
    async with aiohttp.ClientSession(f"https://{endpoint}", connector=connector) as session:
        await (await session.post("/oauth2/token")).read()
        await (await session.get("/v2/_catalog?n=100")).read()

        async def pages(path: str) -> AsyncIterator[dict[str, list[dict[str, object]]]]:
            while path:
                async with session.get(path) as answer:
                    yield msgspec.json.decode(await answer.read())
                    link = _NEXT.match(answer.headers.get("Link", ""))
                    path = link[1] if link else ""

        async def delete(paths: Iterable[str]) -> None:
            pending = iter(list(paths))

            async def work() -> None:
                for path in pending:
                    async with session.delete(path) as answer:
                        await answer.read()

            await asyncio.gather(*(work() for _ in range(concurrency)))

        deleted: set[object] = set()
        async for page in pages(f"/acr/v1/{NAME}/_tags?n=100&orderby=timedesc"):
            old = [tag for tag in page["tags"] if str(tag["lastUpdateTime"]) < before]
            deleted.update(tag["digest"] for tag in old)
            await delete(f"/acr/v1/{NAME}/_tags/{tag['name']}" for tag in old)
        async for page in pages(f"/acr/v1/{NAME}/_manifests?n=100"):
            digests = [manifest["digest"] for manifest in page["manifests"] if manifest["digest"] in deleted]
            await delete(f"/v2/{NAME}/manifests/{digest}" for digest in digests)


if __name__ == "__main__":
    asyncio.run(main())
