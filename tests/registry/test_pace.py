"""How fast, how often, and how patiently: in a time that only waiting moves."""

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


class Script:
    """Answers one after the other, the last one for ever: a status, a whole reply, or an exception."""

    def __init__(self, *answers: int | Reply | Exception) -> None:
        self.answers = list(answers)
        self.sent = 0

    async def __call__(self) -> Reply:
        answer = self.answers[min(self.sent, len(self.answers) - 1)]
        self.sent += 1
        if isinstance(answer, Exception):
            raise answer
        return Reply(answer, {}, b"") if isinstance(answer, int) else answer


def lost() -> ServiceRequestError:
    """azure-core calls a connection lost after the request was sent a request error, too."""
    return ServiceRequestError("lost", error=aiohttp.ServerDisconnectedError())


def too_many(seconds: object) -> Reply:
    return Reply(429, {"Retry-After": str(seconds)}, b"")


@pytest.mark.parametrize(
    "trouble", [408, 500, 502, 503, 504, lost(), ServiceResponseError("x"), IncompleteReadError("x")]
)
async def test_what_may_pass_is_tried_again(trouble: int | Exception) -> None:
    script = Script(trouble, trouble, 200)
    reply = await pace(FakeTime()).run(Category.READ, script)
    assert (reply.status, script.sent) == (200, 3)


@pytest.mark.parametrize("status", [200, 202, 301, 400, 401, 403, 404, 405, 409])
async def test_what_repeating_would_not_change_is_not_repeated(status: int) -> None:
    script = Script(status)
    reply = await pace(FakeTime()).run(Category.READ, script)
    assert (reply.status, reply.uncertain, script.sent) == (status, False, 1)


async def test_tries_are_bounded_and_grow_apart() -> None:
    fake, script = FakeTime(), Script(503)
    reply = await pace(fake).run(Category.READ, script)
    assert (reply.status, script.sent) == (503, 4)
    assert fake.slept == [0.5, 1.0, 2.0]

    script = Script(lost())
    with pytest.raises(ServiceRequestError):
        await pace(fake).run(Category.READ, script)
    assert script.sent == 4


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
async def test_what_does_not_get_better_by_asking_again_is_not_asked_again(cause: Exception, tries: int) -> None:
    script = Script(ServiceRequestError("x", error=cause))
    with pytest.raises(ServiceRequestError):
        await pace(FakeTime()).run(Category.READ, script)
    assert script.sent == tries


@pytest.mark.parametrize("trouble", [lost(), ServiceResponseError("x"), 502, 408, TimeoutError()])
async def test_a_try_that_may_have_been_carried_out_makes_the_answer_uncertain(trouble: int | Exception) -> None:
    reply = await pace(FakeTime()).run(Category.DELETE, Script(trouble, 404))
    assert (reply.status, reply.uncertain) == (404, True)


@pytest.mark.parametrize(
    "trouble",
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
async def test_a_try_that_cannot_have_been_carried_out_leaves_no_doubt(trouble: Reply | Exception) -> None:
    reply = await pace(FakeTime()).run(Category.DELETE, Script(trouble, 404))
    assert (reply.status, reply.uncertain) == (404, False)


async def test_waiting_on_429_uses_up_no_try() -> None:
    fake = FakeTime()
    script = Script(*[too_many(10)] * 20, 503, 503, 503, 202)
    reply = await pace(fake).run(Category.DELETE, script)
    assert (reply.status, script.sent) == (202, 24)
    assert sum(fake.slept) >= 200


async def test_patience_with_429_ends() -> None:
    fake = FakeTime()
    started, script = fake.now, Script(too_many(60))
    reply = await pace(fake, patience=300).run(Category.DELETE, script)
    assert reply.status == 429
    assert fake.now - started <= 300
    assert 4 <= script.sent <= 6


async def test_a_wait_beyond_all_patience_is_not_begun_and_stops_nobody() -> None:
    fake = FakeTime()
    slow = pace(fake)
    assert (await slow.run(Category.DELETE, Script(too_many(86400)))).status == 429
    assert (await slow.run(Category.READ, Script(200))).status == 200
    assert fake.slept == []


async def test_one_429_pauses_everybody() -> None:
    """Reads wait as well, and those whose turn comes later. In real time: a made-up one cannot show who waits beside whom."""
    shared = Pace(8, jitter=lambda: 0.0)
    asked_at: list[float] = []

    async def ask(category: Category, *answers: int | Reply) -> None:
        script = Script(*answers)

        async def send() -> Reply:
            asked_at.append(time.monotonic())
            return await script()

        await shared.run(category, send)

    started = time.monotonic()
    await asyncio.gather(
        ask(Category.DELETE, too_many(0.4), 202),
        *(ask(Category.READ, 200) for _ in range(3)),
        ask(Category.DELETE, 202),
    )
    assert sum(at < started + 0.4 for at in asked_at) == 1, "only the one that was told"
    assert len(asked_at) == 6


async def test_no_more_than_so_many_at_once_and_never_more_than_32_deletions() -> None:
    for category, concurrency, most in ((Category.READ, 5, 5), (Category.DELETE, 5, 5), (Category.DELETE, 99, 32)):
        now, seen = 0, 0

        async def send() -> Reply:
            nonlocal now, seen
            now += 1
            seen = max(seen, now)
            await asyncio.sleep(0)
            now -= 1
            return Reply(200, {}, b"")

        shared = pace(FakeTime(), concurrency)
        await asyncio.gather(*(shared.run(category, send) for _ in range(120)))
        assert seen == most


async def test_requests_of_all_kinds_together_are_no_more_than_so_many_at_once() -> None:
    """Each needs a connection: a list beside as many deletions as there may be would need one too many."""
    now, seen, order = 0, 0, list[Category]()
    shared = pace(FakeTime(), 2)

    async def ask(category: Category) -> Reply:
        async def send() -> Reply:
            nonlocal now, seen
            now += 1
            seen = max(seen, now)
            order.append(category)
            await asyncio.sleep(0)
            now -= 1
            return Reply(200, {}, b"")

        return await shared.run(category, send)

    deletions = [Category.DELETE] * 9
    await asyncio.gather(*map(ask, (*deletions, Category.READ, Category.WRITE)))
    assert (seen, len(order)) == (2, 11)
    assert {Category.READ, Category.WRITE} <= set(order[:6]), "they wait for their turn, and not for all deletions"


async def test_a_token_is_asked_for_in_the_turn_of_the_request_that_needs_it() -> None:
    shared = pace(FakeTime(), 1)

    async def send() -> Reply:
        return await shared.run(Category.TOKEN, Script(200))

    async with asyncio.timeout(5):
        reply = await shared.run(Category.DELETE, send)
    assert reply.status == 200


async def test_a_request_whose_turn_comes_in_a_pause_waits_for_its_end() -> None:
    fake, first, second = FakeTime(), Script(too_many(7), 200), Script(200)
    began, sent_at = fake.now, list[float]()
    shared = pace(fake, 1)

    async def told_to_wait() -> Reply:
        await asyncio.sleep(0)
        return await first()

    async def send() -> Reply:
        sent_at.append(fake.now)
        return await second()

    await asyncio.gather(shared.run(Category.READ, told_to_wait), shared.run(Category.DELETE, send))
    assert sent_at == [began + 7]


async def test_a_failing_registry_may_say_when_to_come_back() -> None:
    fake = FakeTime()
    await pace(fake).run(Category.READ, Script(Reply(503, {"Retry-After": "7"}, b""), 200))
    assert fake.slept == [7.0]


async def test_what_nobody_foresaw_is_raised_at_once() -> None:
    script = Script(KeyError("bug"))
    with pytest.raises(KeyError):
        await pace(FakeTime()).run(Category.READ, script)
    assert script.sent == 1


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
def test_retry_after_in_every_spelling(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < (retry_after({"Retry-After": date}) or 0) <= 60


async def test_a_registry_that_answers_nothing_but_429_is_not_waited_for_by_every_request_in_turn() -> None:
    fake = FakeTime()
    starved, started = pace(fake, 1, patience=240), fake.now
    replies = [await starved.run(Category.DELETE, Script(too_many(60))) for _ in range(50)]

    assert {reply.status for reply in replies} == {429}
    assert fake.now - started <= 240


async def test_what_the_registry_says_of_its_budget_outranks_our_own_backoff() -> None:
    """Growing pauses on top of it would let one request that is always refused stop all others for longer and longer."""
    fake = FakeTime()
    started, script = fake.now, Script(*[too_many(1)] * 10, 202)
    assert (await pace(fake).run(Category.DELETE, script)).status == 202
    assert fake.now - started == pytest.approx(10)
