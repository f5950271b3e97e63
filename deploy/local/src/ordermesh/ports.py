"""Ports of the loopback interface: which are free, which another launcher has claimed, and who really listens at one."""

import contextlib
import socket
import subprocess
from pathlib import Path
from typing import Self

_LISTENS = "0A"
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


class Claims:
    """Ports that no other launcher of this machine gets, although nothing listens there yet.

    A claim is the UDP port of the same number, bound and never used, since nothing of ours speaks UDP. The system gives it to one
    process only, whatever its user and its directory, and takes it back when that process ends, however it ends.
    """

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._held:
            self._held.popitem()[1].close()

    def take(self, port: int) -> bool:
        """Whether the port is free and ours, from now on until the block ends."""
        if port not in self._held:
            claim = socket.socket(type=socket.SOCK_DGRAM)
            try:
                claim.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                return False
            self._held[port] = claim
        # Only now: whoever had the claim before us has let it go because something listens, or because it is done.
        return is_free(port)


def is_free(port: int) -> bool:
    """Whether nothing listens on this port of the loopback interface."""
    with socket.socket() as probe:
        # As servers do: what is left of closed connections does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listens(pid: int, port: int) -> bool:
    """Whether it is this very process that listens at the port, and not another one that was faster.

    True as well where the system does not tell us: of a process of another user, say.
    """
    if not _TABLES[0].exists():
        return asks_lsof(pid, port)
    try:
        return not _listening(port).isdisjoint(_sockets(pid))
    except PermissionError:
        return True


def robbed(pid: int, port: int) -> str:
    """Why a process did not start, to be put behind how it ended, if another program has its port; blank if none has."""
    # In this order: what takes the port between two looks may be the process itself.
    return "" if is_free(port) or listens(pid, port) else f"; another program has taken its port {port}"


def asks_lsof(pid: int, port: int) -> bool:
    """The same, for systems without /proc."""
    words = ("lsof", "-nP", "-a", "-p", str(pid), f"-iTCP:{port}", "-sTCP:LISTEN", "-t")
    try:
        return bool(subprocess.run(words, capture_output=True, check=False).stdout.strip())
    except FileNotFoundError:
        return True


def _listening(port: int) -> set[str]:
    """The sockets that listen at the port, as the links in /proc/PID/fd call them."""
    found = set()
    for table in _TABLES:
        # Without IPv6 there is no second table.
        with contextlib.suppress(FileNotFoundError):
            for line in table.read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == _LISTENS and int(local.rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{rest[5]}]")
    return found


def _sockets(pid: int) -> set[str]:
    """What the process has open. Raises PermissionError if that is not ours to know."""
    found = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for opened in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.add(str(opened.readlink()))
    return found
