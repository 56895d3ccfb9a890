"""The log of requests: one record for each request that a service received."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """
    One request that a service received.

    `path`: decoded; `query`: not decoded.
    `status`: 0 if the connection was cut before an answer.
    `identity`: the client id of the bearer token, or the common name of the client certificate;
    None for an anonymous request.
    `at`: the time of arrival, in seconds since the epoch.
    """

    service: str
    method: str
    path: str
    query: str
    status: int
    identity: str | None
    at: float
