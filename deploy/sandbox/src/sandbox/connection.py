"""Resetting a caller's connection where an answer is due, which ASGI has no word for."""

import socket
import struct

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

AT_ONCE = struct.pack("ii", 1, 0)  # linger for 0 s: closing sends RST in place of FIN


class Connection(HttpToolsProtocol):
    """uvicorn's, which lets a request reach its own connection as `request.state.reset`."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["reset"] = self.reset

    def reset(self) -> None:
        """Nothing happens to a connection that its caller has left."""
        if self.transport.is_closing():
            return
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self.transport.abort()


class NoAnswer(Response):
    """Resets the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is sent
        scope["state"]["reset"]()
        await gone(receive)


async def gone(receive: Receive) -> None:
    """Return once the caller has given up. `receive` belongs to a request whose body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def wait_for_end_of(request: Request) -> None:
    """Raises ConnectionResetError once the caller has given up."""
    await gone(request.receive)
    raise ConnectionResetError("the caller gave up")
