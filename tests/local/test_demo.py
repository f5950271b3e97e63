"""The demo where it cannot go on: a sentence, and no traceback."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from rich.console import Console

from ordermesh import demo
from ordermesh.errors import LauncherError
from ordermesh.infrastructure import Infrastructure
from ordermesh.process import gone
from ordermesh.programs import GATEWAY, SANDBOX, Program
from ordermesh.stack import Stack
from ordermesh.state import RunDirectory


class _Shop(BaseHTTPRequestHandler):
    """An issuer that signs everything, and a gateway that believes no token of it."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        refused = {"message": "The token is\nof another shop", "extensions": {"code": "UNAUTHENTICATED"}}
        answer: Any = {"errors": [refused]} if self.path == "/graphql" else {"token": "of the other stack"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Shop) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def a_stack(directory: RunDirectory, infra: Infrastructure, port: int, script: str = "") -> Stack:
    argv = (sys.executable, "-c", script)
    waves = (tuple(Program(name, port, {}, argv) for name in (GATEWAY, SANDBOX)),)
    return Stack(directory, infra, waves, lambda _: None)


async def test_a_gateway_that_refuses_ends_the_demo_with_what_it_said(
    directory: RunDirectory, infra: Infrastructure, shop: int
) -> None:
    with pytest.raises(LauncherError) as ended:
        await demo._run(a_stack(directory, infra, shop), Console(quiet=True))
    assert str(ended.value) == "The demo cannot go on: Refused: The token is of another shop"


async def test_a_gateway_that_does_not_answer_ends_the_demo_with_a_sentence(
    directory: RunDirectory, infra: Infrastructure
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(LauncherError, match=r"^The demo cannot go on: ConnectError: [^\n]*refused"):
            await demo._run(a_stack(directory, infra, closed.getsockname()[1]), Console(quiet=True))


async def test_a_program_that_ended_is_the_reason_of_all_that_follows_from_it(
    directory: RunDirectory, infra: Infrastructure, shop: int
) -> None:
    stack = a_stack(directory, infra, shop, "import sys; sys.exit('out of paper')")
    stack.start_again(GATEWAY, {})
    await gone(stack.child(GATEWAY))
    with pytest.raises(
        LauncherError, match=r"^gateway stopped by itself \(exit code 1\)\.\n  \| out of paper\n"
    ):
        await demo._run(stack, Console(quiet=True))
