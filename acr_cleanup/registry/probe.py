"""Asks the registry for its first answer, without a login."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from acr_cleanup.registry.failures import no_answer

if TYPE_CHECKING:
    from acr_cleanup.access.network import Network

_SECONDS = 20


async def probe(network: Network, login_server: str) -> datetime | None:
    """
    Return the time of the registry's clock; None if the answer has none.

    Any status is an answer: without a token, the registry answers 401. Raises `RegistryError`.
    """
    import aiohttp  # noqa: PLC0415

    url = f"https://{login_server}/v2/"
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with network.session.get(
            url, proxy=network.proxy_for(url), allow_redirects=False, timeout=timeout
        ) as answer:
            date = answer.headers.get("Date", "")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise no_answer(login_server, "ask without a login", error) from error
    try:
        return parsedate_to_datetime(date)
    except ValueError:
        return None
