"""The process: a Strawberry subgraph over real loopback HTTP, the gateway as ``python -m gateway``, and its end."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import strawberry
from strawberry.federation import Schema

from gateway.transport import HttpTransport, TransportFailed


@strawberry.federation.type(keys=["id"])
class Order:
    id: strawberry.ID
    status: str


@strawberry.type
class Query:
    @strawberry.field
    def order(self, number: strawberry.ID) -> Order:
        return Order(id=number, status="open")


@strawberry.type
class Mutation:
    @strawberry.mutation
    def change(self) -> bool:
        return True


@strawberry.federation.type(keys=["id"], name="Order")
class Paid:
    id: strawberry.ID

    @strawberry.field
    def paid(self) -> bool | None:
        return True

    @classmethod
    def resolve_reference(cls, id: strawberry.ID) -> "Paid":  # noqa: A002 - Strawberry names it after the key
        return cls(id=id)


class Subgraph:
    """Serves a schema on loopback. Requests wait while ``gate`` is closed, and ``waiting`` says that one does."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.gate, self.waiting = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                request = orjson.loads(await reader.readexactly(length))
                if not self.gate.is_set() and "_service" not in request["query"]:
                    self.waiting.set()
                    await self.gate.wait()
                result = await self.schema.execute(request["query"], variable_values=request.get("variables"))
                body = orjson.dumps({"data": result.data})
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/graphql"
        server.close()


@asynccontextmanager
async def gateway(
    state: Path, settings: dict[str, str] | None = None, /, **urls: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, HttpTransport]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **(settings or {}),
        "PORT": str(port),
        "SUBGRAPHS": json.dumps(urls),
        "STATE_DIR": str(state),
        "POLL_INTERVAL": "0.2",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway", env=environment)
    client = HttpTransport({"gateway": f"http://127.0.0.1:{port}/graphql"}, 20, {})
    try:
        async with asyncio.timeout(60):
            while not await answers(client):
                await asyncio.sleep(0.05)
        yield process, client
    finally:
        await client.close()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def answers(client: HttpTransport) -> bool:
    try:
        return (await client.post("gateway", b'{"query":"{__typename}"}', [])).status == 200
    except TransportFailed:
        return False


QUERY = b'{"query":"query($n: ID!) { order(number: $n) { status paid } }","variables":{"n":"7"}}'


async def test_a_stop_lets_the_request_in_flight_finish_and_succeeds(tmp_path: Path) -> None:
    orders, payments = Subgraph(Schema(query=Query)), Subgraph(Schema(types=[Paid]))
    async with (
        orders.serving() as one,
        payments.serving() as two,
        gateway(tmp_path, orders=one, payments=two) as running,
    ):
        process, client = running
        payments.gate.clear()
        asked = asyncio.create_task(client.post("gateway", QUERY, []))
        await asyncio.wait_for(payments.waiting.wait(), 20)
        process.terminate()
        payments.gate.set()
        assert await asked == (200, b'{"data":{"order":{"status":"open","paid":true}}}')
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_subgraph_that_is_down_at_start_costs_only_its_fields(tmp_path: Path) -> None:
    orders, payments = Subgraph(Schema(query=Query)), Subgraph(Schema(types=[Paid]))
    async with orders.serving() as one:
        async with payments.serving() as two, gateway(tmp_path, orders=one, payments=two) as (process, _):
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 20) == 0
        async with gateway(tmp_path, orders=one, payments=two) as (_, client):
            answer = orjson.loads((await client.post("gateway", QUERY, [])).body)
    assert answer["data"] == {"order": {"status": "open", "paid": None}}
    assert answer["errors"][0]["extensions"] == {"code": "SERVICE_UNAVAILABLE", "serviceName": "payments"}


async def test_nobody_on_this_machine_passes_for_another_by_a_header(tmp_path: Path) -> None:
    """As uvicorn would let them: it believes X-Forwarded-For of a peer on the loopback interface."""
    orders = Subgraph(Schema(query=Query, mutation=Mutation))
    async with (
        orders.serving() as one,
        gateway(tmp_path, {"ANONYMOUS_MUTATIONS_PER_MINUTE": "1"}, orders=one) as (_, client),
    ):
        change = b'{"query":"mutation { change }"}'
        answers = [
            await client.post("gateway", change, [("x-forwarded-for", f"1.1.1.{n}")]) for n in range(2)
        ]
    assert [answer.status for answer in answers] == [200, 429]
