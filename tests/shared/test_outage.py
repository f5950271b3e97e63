"""A PostgreSQL that really goes away under a service at work: nothing is skipped, nothing done twice, and all of it comes back."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import orjson
import pytest
import strawberry
from aiokafka import AIOKafkaProducer
from pyreqwest.client import Client, ClientBuilder
from sqlalchemy import func, select

from ordermesh.infrastructure import Infrastructure
from ordermesh.postgres import Postgres
from ordermesh.state import RunDirectory
from shared.commands import execute
from shared.contracts.payments import PaymentFeeRecorded, PaymentReady
from shared.contracts.topics import PAYMENT_EVENTS
from shared.graphql import Info
from shared.handlers import Handlers
from shared.inbox import Inbox
from shared.jobs import Job, Jobs
from shared.migrations import migrate
from shared.service import Service
from shared.settings import ServiceSettings
from shared.testing import free_socket, serving
from shared.tx import Tx
from support.accounts import ACCOUNTS, accounts, balances, credit, dead_letters, open_accounts, record
from support.topics import reading

ACCOUNTS_OPEN, CREDITS_EACH = 5, 60
DEPOSIT = 1000


class Proxy:
    """The network between a service and its database, which can be cut."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._sock = free_socket()
        self.port = self._sock.getsockname()[1]
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return self._target._replace(netloc=f"{self._target.netloc.rpartition(':')[0]}:{self.port}").geturl()

    async def join(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port, reuse_address=True)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(back)
        await asyncio.gather(_pipe(reader, back), _pipe(there, writer))


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()


class Provider:
    """What calls did, by the job's own id as idempotency key. The first call is held until told, so that an outage meets it."""

    def __init__(self) -> None:
        self.done: Counter[UUID] = Counter()
        self.called, self.may_answer = asyncio.Event(), asyncio.Event()

    async def pay(self, job: Job) -> int:
        self.called.set()
        await self.may_answer.wait()
        self.done[job.id] = 1
        return 0


@strawberry.type
class Query:
    @strawberry.field
    async def total(self, info: Info) -> int:
        [row] = await info.context.service.db.fetch(select(func.sum(accounts.c.balance)))
        return int(row[0])


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def deposit(self, info: Info, account: strawberry.ID) -> str:
        """Once it holds the account's lock it waits for `may_write`."""
        service = info.context.service

        async def command(tx: Tx) -> str:
            service.writing.set()
            await service.may_write.wait()
            held = tx.get(ACCOUNTS, account)
            tx.save(ACCOUNTS, replace(held, balance=held.balance + DEPOSIT))
            return str(account)

        once = info.context.once("deposit", {"account": account})
        return await execute(
            service.db, "orders", command, (ACCOUNTS, [account]), correlation_id="t", once=once
        )


SCHEMA = strawberry.Schema(Query, Mutation)


class Bank(Service):
    """Hears credits, says that it did, and has a provider called for each."""

    def __init__(self, url: str, infrastructure: Infrastructure, ids: list[UUID], provider: Provider) -> None:
        self.writing, self.may_write = asyncio.Event(), asyncio.Event()
        settings = ServiceSettings(
            job_lease=5,
            database_url=url,
            kafka_url=infrastructure.kafka_url,
            kafka_idempotence=infrastructure.kafka_idempotence,
            kafka_fetch_max_wait_ms=infrastructure.kafka_fetch_max_wait_ms,
        )
        jobs, hearing = Jobs(), Handlers("orders")
        jobs.call("pay", provider.pay, _noted, ACCOUNTS)

        @hearing.on(PaymentFeeRecorded, ACCOUNTS)
        async def on_fee(fact: PaymentFeeRecorded, tx: Tx) -> None:
            if fact.order_id not in ids:  # other tests share the broker's topics
                return
            held = tx.get(ACCOUNTS, fact.order_id)
            credited = (*held.credits, fact.charge_id)
            tx.save(ACCOUNTS, replace(held, balance=held.balance + fact.amount, credits=credited))
            tx.emit(
                PaymentReady(
                    order_id=fact.order_id, currency="USD", amount=1, payment_intent_id=fact.charge_id
                )
            )
            tx.request("pay", fact.order_id)

        super().__init__("orders", settings, handlers=Handlers("orders"), jobs=jobs, schema=SCHEMA)
        group = f"test-{uuid4()}"
        self.bus.listen(self.db, Inbox(self.db, hearing), "orders", topics=[PAYMENT_EVENTS], group=group)


async def _noted(_: Job, __: int, ___: Tx) -> None:
    pass


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    """A cluster of its own, as durable as in production: what was committed is there after a crash."""
    own = Postgres(RunDirectory(tmp_path_factory.mktemp("outage")).prepare())
    own.stop_signal = signal.SIGQUIT  # the immediate shutdown: no farewell, recovery at the next start
    await own.start(attached=True)
    yield own
    await own.stop()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with ClientBuilder().build() as made:
        yield made


async def ask(client: Client, url: str) -> tuple[int, Any]:
    response = await client.get(url).build().send()
    return response.status, orjson.loads(bytes(await response.bytes()))


async def graph(client: Client, url: str, query: str, key: str = "") -> Any:
    request = client.post(f"{url}/graphql").body_json({"query": query})
    if key:
        request = request.header("idempotency-key", key)
    return await (await request.build().send()).json()


def code(answer: Any) -> str:
    [error] = answer["errors"]
    return str(error["extensions"]["code"])


async def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def a_producer(infrastructure: Infrastructure) -> AsyncIterator[Callable[..., Any]]:
    producer = AIOKafkaProducer(bootstrap_servers=infrastructure.kafka_url)
    await producer.start()

    async def send(ids: list[UUID], numbers: range) -> None:
        for n in numbers:
            for account in ids:
                fact = record(credit(account, f"{n:03}"))
                headers = [(name, value) for name, value in fact.headers if value is not None]
                await producer.send(fact.topic, fact.value, key=fact.key, headers=headers)
        await producer.flush()

    try:
        yield send
    finally:
        await producer.stop()


async def said_on_the_topic(infrastructure: Infrastructure, ids: list[UUID]) -> dict[str, list[str]]:
    """What the relay sent per account, in the topic's order; an event that was sent again is taken once."""
    said: dict[str, dict[object, str]] = {str(account): {} for account in ids}
    async with reading(infrastructure.kafka_url, PAYMENT_EVENTS) as more, asyncio.timeout(60):
        while any(len(events) < CREDITS_EACH for events in said.values()):
            for key, message in await more():
                if key in said and (headers := dict(message.headers() or ()))["ce_type"] == b"payment.ready":
                    body = orjson.loads(message.value() or b"")
                    said[key].setdefault(headers["ce_id"], body["payment_intent_id"])
    return {account: list(events.values()) for account, events in said.items()}


@pytest.mark.parametrize("how", ["the server is stopped at once", "the network is cut"])
async def test_a_database_that_goes_away_costs_nothing_but_time(  # noqa: PLR0915 - one story, told in order
    how: str,
    server: Postgres,
    infrastructure: Infrastructure,
    client: Client,
) -> None:
    [url] = (await server.fresh_databases(["orders"])).values()
    await asyncio.to_thread(migrate, "orders", url)
    proxy, provider = Proxy(url), Provider()
    await proxy.join()
    direct = Bank(url, infrastructure, [], provider).db
    await direct.open()
    ids = await open_accounts(direct, ACCOUNTS_OPEN)
    await direct.close()
    bank = Bank(proxy.url, infrastructure, ids, provider)
    numbers = [f"{n:03}" for n in range(CREDITS_EACH)]

    async def credited(times: int) -> bool:
        async with bank.db.connection() as conn:
            rows = await conn.fetch("SELECT jsonb_array_length(credits) AS n FROM accounts")
        return all(row["n"] >= times for row in rows)

    async def unready() -> bool:
        return await ask(client, f"{at}/health/ready") != (200, ready)

    async with AsyncExitStack() as stack:
        send = await stack.enter_async_context(a_producer(infrastructure))
        at = await stack.enter_async_context(serving(bank, free_socket()))
        ready = {"service": "orders", "ready": True, "problems": {}}
        assert await ask(client, f"{at}/health/ready") == (200, ready)

        # At work: facts are heard, calls are under way, a mutation holds its lock, more facts come in.
        await send(ids[1:], range(20))
        await provider.called.wait()
        deposit = f'mutation {{ deposit(account: "{ids[0]}") }}'
        under_way = asyncio.create_task(graph(client, at, deposit, key="k1"))
        await bank.writing.wait()
        await send(ids[:1], range(20))
        await send(ids, range(20, 40))
        if how == "the network is cut":
            await proxy.cut()
        else:
            await server.stop()
        bank.may_write.set()
        provider.may_answer.set()

        # Away: said so, alive, typed errors.
        assert code(await under_way) == "SERVICE_UNAVAILABLE"
        await until(unready)
        status, health = await ask(client, f"{at}/health/ready")
        assert (status, list(health["problems"])) == (503, ["database"])
        assert await ask(client, f"{at}/health/live") == (200, {"live": True})
        assert code(await graph(client, at, deposit)) == "SERVICE_UNAVAILABLE"
        assert code(await graph(client, at, "{ total }")) == "SERVICE_UNAVAILABLE"
        await send(ids, range(40, CREDITS_EACH))

        # Back: by itself.
        if how == "the network is cut":
            await proxy.join()
        else:
            await server.start(attached=True)
        assert (await graph(client, at, "{ total }")).get("errors") is None
        assert await graph(client, at, deposit, key="k1") == {"data": {"deposit": str(ids[0])}}
        assert await graph(client, at, deposit, key="k1") == {"data": {"deposit": str(ids[0])}}
        await until(lambda: credited(CREDITS_EACH))
        assert await balances(bank.db, ids) == {
            account: CREDITS_EACH + (DEPOSIT if account == ids[0] else 0) for account in ids
        }
        async with bank.db.connection() as conn:
            assert [row["credits"] for row in await conn.fetch("SELECT credits FROM accounts")] == [
                numbers
            ] * len(ids)
        # What other tests' garbage on the shared topic left here is nobody's fact.
        assert [each for each in await dead_letters(bank.db) if each["aggregate_key"] is not None] == []
        assert await said_on_the_topic(infrastructure, ids) == {str(account): numbers for account in ids}

        async def idle() -> bool:
            async with bank.db.connection() as conn:
                return not await conn.fetchval(
                    "SELECT (SELECT count(*) FROM outbox_pending) + (SELECT count(*) FROM jobs WHERE state <> 'done')"
                )

        await until(idle)
        assert len(provider.done) == ACCOUNTS_OPEN * CREDITS_EACH
        assert await ask(client, f"{at}/health/ready") == (200, ready)
        assert bank.bus.stopped_because is None
    await proxy.cut()
