"""The proxy: what it passes on is complete and in order, what it cuts is cut at both ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chaos.proxy import HOST, Proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Proxy, list[asyncio.StreamWriter]]]:
    """A server that answers what it hears, behind a proxy; and its ends of the connections."""
    ends: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy, ends


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_it_passes_everything_on_in_order() -> None:
    sent = b"".join(b"%08d" % n for n in range(100_000))
    async with echoing() as (proxy, _), connected(proxy) as (reader, writer):
        writer.write(sent)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), 30) == sent


async def test_cut_resets_both_ends_and_a_new_connection_works() -> None:
    async with echoing() as (proxy, ends):
        async with connected(proxy) as (reader, writer):
            writer.write(b"a")
            assert await reader.readexactly(1) == b"a"
            assert proxy.cut() == 1
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            await asyncio.wait_for(_closed(ends[0]), 10)
        async with connected(proxy) as (reader, writer):
            writer.write(b"b")
            assert await reader.readexactly(1) == b"b"


async def test_what_was_held_back_arrives_in_order_when_it_heals() -> None:
    async with echoing() as (proxy, _), connected(proxy) as (reader, writer):
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        proxy.hold()
        writer.write(b"2")
        answer = asyncio.create_task(reader.readexactly(3))
        while not any(leg.holds for leg in proxy.legs):
            await asyncio.sleep(0.01)
        writer.write(b"34")
        assert not answer.done()
        proxy.heal()
        assert await asyncio.wait_for(answer, 10) == b"234"


async def test_a_connection_made_while_it_is_silent_gets_through_later() -> None:
    async with echoing() as (proxy, _):
        proxy.hold()
        async with connected(proxy) as (reader, writer):
            writer.write(b"early")
            while not any(leg.holds for leg in proxy.legs):
                await asyncio.sleep(0.01)
            proxy.heal()
            assert await asyncio.wait_for(reader.readexactly(5), 10) == b"early"


async def test_who_went_away_while_it_was_silent_is_gone_when_it_heals() -> None:
    async with echoing() as (proxy, ends):
        async with connected(proxy) as (reader, writer):
            writer.write(b"a")
            assert await reader.readexactly(1) == b"a"
            proxy.hold()
        while len(proxy.legs) > 1:
            await asyncio.sleep(0.01)
        assert not ends[0].is_closing()
        proxy.heal()
        await asyncio.wait_for(_closed(ends[0]), 10)


async def test_what_is_delayed_is_not_overtaken_by_what_comes_after_the_delay() -> None:
    async with echoing() as (proxy, _), connected(proxy) as (reader, writer):
        writer.write(b"0")
        assert await reader.readexactly(1) == b"0"
        proxy.slow(0.2)
        writer.write(b"first ")
        while not any(leg.is_late for leg in proxy.legs):
            await asyncio.sleep(0.01)
        proxy.heal()
        writer.write(b"second")
        assert await asyncio.wait_for(reader.readexactly(12), 10) == b"first second"


async def test_a_connection_to_nothing_is_reset() -> None:
    async with echoing() as (proxy, _):
        proxy.target = 1
        async with connected(proxy) as (reader, _writer):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)


async def _closed(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        await asyncio.sleep(0.01)
