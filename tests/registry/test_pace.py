"""Concurrency, retries and pauses of registry requests, mostly with a simulated clock."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from azure.core.exceptions import IncompleteReadError, ServiceRequestError, ServiceResponseError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from acr_cleanup.registry.pace import Category, Pace, Reply, retry_after
from tests.helpers.registry_clients import FakeTime


def pace(fake: FakeTime, concurrency: int = 8, *, patience: float = 900.0) -> Pace:
    return Pace(concurrency, tries=4, patience=patience, clock=fake, sleep=fake.sleep, jitter=lambda: 1.0)


class Answers:
    """
    Gives one answer after the other and repeats the last: a status, a whole reply, or an exception.
    """

    def __init__(self, *answers: int | Reply | Exception) -> None:
        self.answers = list(answers)
        self.sent = 0

    async def __call__(self) -> Reply:
        answer = self.answers[min(self.sent, len(self.answers) - 1)]
        self.sent += 1
        if isinstance(answer, Exception):
            raise answer
        return Reply(answer, {}, b"") if isinstance(answer, int) else answer


def connection_lost() -> ServiceRequestError:
    """
    azure-core raises a request error even if the connection is lost after the request was sent.
    """
    return ServiceRequestError("connection lost", error=aiohttp.ServerDisconnectedError())


def too_many(seconds: object) -> Reply:
    return Reply(429, {"Retry-After": str(seconds)}, b"")


@pytest.mark.parametrize(
    "failure", [408, 500, 502, 503, 504, connection_lost(), ServiceResponseError("x"), IncompleteReadError("x")]
)
async def test_transient_failure_is_repeated(failure: int | Exception) -> None:
    answers = Answers(failure, failure, 200)
    reply = await pace(FakeTime()).run(Category.READ, answers)
    assert (reply.status, answers.sent) == (200, 3)


@pytest.mark.parametrize("status", [200, 202, 301, 400, 401, 403, 404, 405, 409])
async def test_final_status_is_not_repeated(status: int) -> None:
    answers = Answers(status)
    reply = await pace(FakeTime()).run(Category.READ, answers)
    assert (reply.status, reply.uncertain, answers.sent) == (status, False, 1)


async def test_attempts_are_bounded_with_growing_delays() -> None:
    fake, answers = FakeTime(), Answers(503)
    reply = await pace(fake).run(Category.READ, answers)
    assert (reply.status, answers.sent) == (503, 4)
    assert fake.slept == [0.5, 1.0, 2.0]

    answers = Answers(connection_lost())
    with pytest.raises(ServiceRequestError):
        await pace(fake).run(Category.READ, answers)
    assert answers.sent == 4


KEY = aiohttp.client_reqrep.ConnectionKey("h", 443, True, True, None, None, None)
PROXY = aiohttp.RequestInfo(URL("https://h"), "CONNECT", CIMultiDictProxy(CIMultiDict()), URL("https://h"))


@pytest.mark.parametrize(
    ("cause", "tries"),
    [
        (aiohttp.ClientConnectorCertificateError(KEY, Exception("self-signed")), 1),
        (aiohttp.ClientHttpProxyError(PROXY, (), status=407), 1),
        (aiohttp.ClientHttpProxyError(PROXY, (), status=502), 4),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_NONAME, "unknown")), 2),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_AGAIN, "later")), 4),
        (aiohttp.ConnectionTimeoutError(), 4),
        (aiohttp.ServerTimeoutError(), 3),
        (aiohttp.ClientConnectorError(KEY, OSError(111, "refused")), 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_attempts_depend_on_the_network_error(cause: Exception, tries: int) -> None:
    answers = Answers(ServiceRequestError("x", error=cause))
    with pytest.raises(ServiceRequestError):
        await pace(FakeTime()).run(Category.READ, answers)
    assert answers.sent == tries


@pytest.mark.parametrize("failure", [connection_lost(), ServiceResponseError("x"), 502, 408, TimeoutError()])
async def test_attempt_possibly_carried_out_makes_reply_uncertain(failure: int | Exception) -> None:
    reply = await pace(FakeTime()).run(Category.DELETE, Answers(failure, 404))
    assert (reply.status, reply.uncertain) == (404, True)


@pytest.mark.parametrize(
    "failure",
    [
        too_many(1),
        ServiceRequestError("x", error=aiohttp.ConnectionTimeoutError()),
        ServiceRequestError(
            "x",
            error=aiohttp.ClientConnectorError(
                aiohttp.client_reqrep.ConnectionKey("h", 443, True, True, None, None, None), OSError("refused")
            ),
        ),
    ],
    ids=["429", "connect timeout", "refused"],
)
async def test_attempt_never_sent_leaves_reply_certain(failure: Reply | Exception) -> None:
    reply = await pace(FakeTime()).run(Category.DELETE, Answers(failure, 404))
    assert (reply.status, reply.uncertain) == (404, False)


async def test_429_does_not_count_as_an_attempt() -> None:
    fake = FakeTime()
    answers = Answers(*[too_many(10)] * 20, 503, 503, 503, 202)
    reply = await pace(fake).run(Category.DELETE, answers)
    assert (reply.status, answers.sent) == (202, 24)
    assert sum(fake.slept) >= 200


async def test_429_is_returned_after_the_patience() -> None:
    fake = FakeTime()
    started, answers = fake.now, Answers(too_many(60))
    reply = await pace(fake, patience=300).run(Category.DELETE, answers)
    assert reply.status == 429
    assert fake.now - started <= 300
    assert 4 <= answers.sent <= 6


async def test_too_long_retry_after_pauses_no_request() -> None:
    fake = FakeTime()
    slow = pace(fake)
    assert (await slow.run(Category.DELETE, Answers(too_many(86400)))).status == 429
    assert (await slow.run(Category.READ, Answers(200))).status == 200
    assert fake.slept == []


async def test_one_429_pauses_its_category() -> None:
    """
    Later deletions wait as well. Reads do not: the registry counts them apart.

    In real time: the simulated clock cannot show requests that wait side by side.
    """
    shared = Pace(8, jitter=lambda: 0.0)
    sent_at: list[tuple[Category, float]] = []

    async def send_one(category: Category, *answers: int | Reply) -> None:
        answer = Answers(*answers)

        async def send() -> Reply:
            sent_at.append((category, time.monotonic()))
            return await answer()

        await shared.run(category, send)

    started = time.monotonic()
    await asyncio.gather(
        send_one(Category.DELETE, too_many(0.4), 202),
        *(send_one(Category.READ, 200) for _ in range(3)),
        send_one(Category.DELETE, 202),
    )
    early = [category for category, moment in sent_at if moment < started + 0.4]
    assert early.count(Category.DELETE) == 1, "only the request that got the 429"
    assert early.count(Category.READ) == 3
    assert len(sent_at) == 6


async def test_concurrency_is_bounded_per_category() -> None:
    for category, concurrency, limit in ((Category.READ, 5, 5), (Category.DELETE, 5, 5), (Category.DELETE, 99, 32)):
        running, most_running = 0, 0

        async def send() -> Reply:
            nonlocal running, most_running
            running += 1
            most_running = max(most_running, running)
            await asyncio.sleep(0)
            running -= 1
            return Reply(200, {}, b"")

        shared = pace(FakeTime(), concurrency)
        await asyncio.gather(*(shared.run(category, send) for _ in range(120)))
        assert most_running == limit


async def test_concurrency_is_bounded_over_all_categories() -> None:
    """
    Each request needs a connection. A list during the maximum of deletions would need one more.
    """
    running, most_running, order = 0, 0, list[Category]()
    shared = pace(FakeTime(), 2)

    async def send_one(category: Category) -> Reply:
        async def send() -> Reply:
            nonlocal running, most_running
            running += 1
            most_running = max(most_running, running)
            order.append(category)
            await asyncio.sleep(0)
            running -= 1
            return Reply(200, {}, b"")

        return await shared.run(category, send)

    deletions = [Category.DELETE] * 9
    await asyncio.gather(*map(send_one, (*deletions, Category.READ, Category.WRITE)))
    assert (most_running, len(order)) == (2, 11)
    assert {Category.READ, Category.WRITE} <= set(order[:6]), "they wait for a slot, not for all deletions"


async def test_token_request_shares_the_slot_of_its_request() -> None:
    shared = pace(FakeTime(), 1)

    async def send() -> Reply:
        return await shared.run(Category.TOKEN, Answers(200))

    async with asyncio.timeout(5):
        reply = await shared.run(Category.DELETE, send)
    assert reply.status == 200


async def test_request_that_gets_its_slot_in_a_pause_waits() -> None:
    fake, first, second = FakeTime(), Answers(too_many(7), 200), Answers(200)
    began, sent_at = fake.now, list[float]()
    shared = pace(fake, 1)

    async def throttled() -> Reply:
        await asyncio.sleep(0)
        return await first()

    async def send() -> Reply:
        sent_at.append(fake.now)
        return await second()

    await asyncio.gather(shared.run(Category.DELETE, throttled), shared.run(Category.DELETE, send))
    assert sent_at == [began + 7]


async def test_503_with_retry_after_waits_that_long() -> None:
    fake = FakeTime()
    await pace(fake).run(Category.READ, Answers(Reply(503, {"Retry-After": "7"}, b""), 200))
    assert fake.slept == [7.0]


async def test_unexpected_exception_is_raised_at_once() -> None:
    answers = Answers(KeyError("bug"))
    with pytest.raises(KeyError):
        await pace(FakeTime()).run(Category.READ, answers)
    assert answers.sent == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "12"}, 12.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "tomorrow"}, None),
        ({"Retry-After": "Wed, 32 Foo 2021 99:99:99 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5),
    ],
)
def test_retry_after_parses_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_parses_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < (retry_after({"Retry-After": date}) or 0) <= 60


async def test_permanent_429_delays_all_requests_only_once() -> None:
    fake = FakeTime()
    throttled, started = pace(fake, 1, patience=240), fake.now
    replies = [await throttled.run(Category.DELETE, Answers(too_many(60))) for _ in range(50)]

    assert {reply.status for reply in replies} == {429}
    assert fake.now - started <= 240


async def test_retry_after_replaces_the_backoff() -> None:
    """With a growing backoff on top, one request that is always refused would delay all others."""
    fake = FakeTime()
    started, answers = fake.now, Answers(*[too_many(1)] * 10, 202)
    assert (await pace(fake).run(Category.DELETE, answers)).status == 202
    assert fake.now - started == pytest.approx(10)
