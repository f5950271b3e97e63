"""A TCP relay between a client and a server on this machine, whose connections can be cut, held back or delayed.

What was held back is delivered when the proxy heals: a network that lost packets repeats them, in order.
"""

import asyncio
from collections.abc import Callable
from typing import Self

HOST = "127.0.0.1"
CONNECT_SECONDS = 5


class Proxy:
    """Listens on a port of its own (`port`) for a server at `target`, which may be told later and may change."""

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self.port = 0
        self.legs: set[_Leg] = set()
        self.holding = False
        self.delay = 0.0
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Leg(self, self._connect), HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)

    def cut(self) -> int:
        """Reset every connection; answers how many. New ones are accepted."""
        legs = list(self.legs)
        for leg in legs:
            leg.abort()
        return len(legs) // 2

    def hold(self) -> None:
        """From now on nothing arrives anywhere, and nobody is told."""
        self.holding = True

    def slow(self, seconds: float) -> None:
        """From now on everything arrives so much later."""
        self.delay = seconds

    def heal(self) -> None:
        """Everything is as before, and what was held back arrives."""
        self.holding, self.delay = False, 0.0
        for leg in list(self.legs):
            leg.release()

    def _connect(self, client: "_Leg") -> None:
        task = asyncio.create_task(self._reach_target(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _reach_target(self, client: "_Leg") -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                loop = asyncio.get_running_loop()
                await loop.create_connection(client.other_leg, HOST, self.target)
        except (OSError, TimeoutError):
            client.abort()


class _Leg(asyncio.Protocol):
    """One end of a relayed connection: it writes to its own peer what the other leg heard."""

    def __init__(
        self, proxy: Proxy, connected: Callable[["_Leg"], None] | None, other: "_Leg | None" = None
    ) -> None:
        self._proxy = proxy
        self._connected = connected
        self._other = other
        self._transport: asyncio.Transport | None = None
        self._held: list[bytes] = []
        self._last_at = 0.0
        self._gone = False

    @property
    def holds(self) -> int:
        """The bytes that wait for the proxy to heal."""
        return sum(map(len, self._held))

    @property
    def is_late(self) -> bool:
        """Whether something is still on its way."""
        return self._last_at > asyncio.get_running_loop().time()

    def other_leg(self) -> "_Leg":
        """The leg to the server: what the client has said so far waits for it."""
        self._other = _Leg(self._proxy, None, self)
        self._other._held, self._held = self._held, []
        return self._other

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._proxy.legs.add(self)
        if self._connected is not None:
            self._connected(self)
        elif self._other is None or self._other._gone:
            transport.abort()
        elif not self._proxy.holding:
            self.release()

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._held.append(data)  # for the leg to the server, once there is one
        else:
            self._other.pass_on(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self._gone = True
        self._proxy.legs.discard(self)
        if self._other is not None:
            self._other.finish()

    def pass_on(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        at = max(loop.time() + self._proxy.delay, self._last_at)
        if self._proxy.holding or self._transport is None or self._held:
            self._held.append(data)
        elif self._proxy.delay or self.is_late:
            self._last_at = at  # nothing overtakes what is still on its way
            loop.call_at(at, self._write, data)
        else:
            self._write(data)

    def release(self) -> None:
        held, self._held = self._held, []
        for data in held:
            self.pass_on(data)
        if self._other is not None and self._other._gone:
            self._close()

    def finish(self) -> None:
        """The other end is gone: say what there is to say, and go. While the network is silent, nobody hears of it."""
        if not self._proxy.holding:
            self.release()

    def _close(self) -> None:
        if self._transport is not None:
            asyncio.get_running_loop().call_at(self._last_at, self._transport.close)

    def abort(self) -> None:
        self._gone = True
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
