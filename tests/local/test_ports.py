"""Who listens at a port: one's own process, another one, nobody."""

import os
import shutil
import socket
from collections.abc import Callable

import pytest

from ordermesh.ports import asks_lsof, listens, robbed

SYSTEMS = [
    listens,
    pytest.param(
        asks_lsof, marks=pytest.mark.skipif(shutil.which("lsof") is None, reason="lsof is not installed")
    ),
]


@pytest.mark.parametrize("asked", SYSTEMS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_only_the_process_that_listens_at_the_port_is_said_to(
    asked: Callable[[int, int], bool], host: str
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server:
        server.bind((host, 0))
        port = server.getsockname()[1]
        assert not asked(os.getpid(), port), "it is bound, and does not listen"
        server.listen()
        assert asked(os.getpid(), port)
        assert not asked(os.getppid(), port)
    assert not asked(os.getpid(), port)


def test_a_port_is_robbed_when_another_process_than_its_own_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert robbed(os.getppid(), port) == f"; another program has taken its port {port}"
        assert robbed(os.getpid(), port) == ""
    assert robbed(os.getppid(), port) == ""
