"""The log of requests: one record for each request that a service received."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """
    One request as a service saw it.

    `path` is decoded, `query` is not. `status` is 0 when the connection was cut before any answer. `identity` is the
    client id of the bearer token or the common name of the client certificate, None for an anonymous request.
    `at` is in seconds since the epoch, when the request arrived.
    """

    service: str
    method: str
    path: str
    query: str
    status: int
    identity: str | None
    at: float
