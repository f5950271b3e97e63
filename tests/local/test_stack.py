"""A stack of stubs under a real launcher: order, death, signals."""

import os
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ordermesh.infrastructure import take_down
from ordermesh.process import Identity, gone
from ordermesh.settings import Settings
from ordermesh.state import LAUNCHER, RunDirectory

LAUNCHER_OF_STUBS = str(Path(__file__).with_name("launch.py"))
Launch = Callable[..., Awaitable[Process]]
Eventually = Callable[[Callable[[], object], Process], Awaitable[None]]
Find = Callable[[], list[str]]


def journal(directory: RunDirectory) -> list[str]:
    path = directory.path / "journal"
    return path.read_text().splitlines() if path.exists() else []


async def serving(process: Process) -> None:
    """Wait until it says that it serves."""
    assert process.stdout is not None
    while (line := await process.stdout.readline()) != b"serving\n":
        assert line, "the launcher ended before it served"


async def end(process: Process) -> tuple[int | None, str]:
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def test_programs_start_after_their_predecessors_and_stop_before_them(
    launch: Launch, directory: RunDirectory, processes: Find
) -> None:
    process = await launch(LAUNCHER_OF_STUBS, "well")
    await serving(process)
    assert set(directory.all_running()) == {"first", "kafka", "last", LAUNCHER, "left", "postgres", "right"}
    process.send_signal(signal.SIGTERM)
    assert await end(process) == (0, "")
    noted = journal(directory)
    assert noted[0] == "first started"
    assert set(noted[1:4]) == {"left started", "right migrate", "right started"}
    assert noted.index("right migrate") < noted.index("right started")
    assert noted[4:6] == ["last started", "last stopped"]
    assert set(noted[6:8]) == {"left stopped", "right stopped"}
    assert noted[8:] == ["first stopped"]
    assert processes() == []
    assert list((directory.path / "pids").iterdir()) == []


async def test_a_second_launcher_is_refused_and_a_later_one_continues(
    launch: Launch, directory: RunDirectory, processes: Find
) -> None:
    first = await launch(LAUNCHER_OF_STUBS, "well")
    await serving(first)
    ports = {name: running.port for name, running in directory.all_running().items()}
    code, errors = await end(await launch(LAUNCHER_OF_STUBS, "well"))
    assert code == 1
    assert f"(pid {first.pid})" in errors
    # Killed without a chance to clean up, it takes everything along, and the next one is not in its way.
    first.kill()
    await first.wait()
    second = await launch(LAUNCHER_OF_STUBS, "well")
    await serving(second)
    assert {name: running.port for name, running in directory.all_running().items()} == ports
    second.send_signal(signal.SIGINT)
    assert await end(second) == (0, "")
    assert processes() == []


async def test_the_outboxes_are_replayed_into_a_broker_that_may_have_lost_them(
    launch: Launch, directory: RunDirectory
) -> None:
    async def replays() -> int:
        (directory.path / "journal").write_text("")
        process = await launch(LAUNCHER_OF_STUBS, "well")
        await serving(process)
        process.send_signal(signal.SIGTERM)
        assert await end(process) == (0, "")
        noted = [note for note in journal(directory) if note.startswith("right")]
        assert (noted[0], noted[-2:]) == ("right migrate", ["right started", "right stopped"])
        return noted.count("right outbox replay")

    # New databases hold nothing to replay; an embedded broker is empty at each start.
    assert [await replays(), await replays()] == [0, 1]
    # A broker that is left running between two stacks keeps what it has; the stack uses it and leaves it running.
    assert (await end(await launch("-m", "ordermesh.cli", "infra", "up")))[0] == 0
    assert [await replays(), await replays()] == [1, 0]
    assert set(directory.all_running()) == {"kafka", "postgres"}


async def test_a_program_whose_port_another_one_took_does_not_pass_for_started(
    launch: Launch, directory: RunDirectory, processes: Find
) -> None:
    code, errors = await end(await launch(LAUNCHER_OF_STUBS, "robbed"))
    assert code == 1
    port = (directory.path / "ports" / "first").read_text()
    assert errors.startswith(
        f"right did not start (exit code 1; another program has taken its port {port}).\n"
    )
    assert processes() == []


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("die", "right did not start (exit code 1).\n  | this stub was told to die"),
        ("refuse", "right migrate failed (exit code 1).\n  | this stub was told to refuse"),
    ],
)
async def test_a_program_that_does_not_start_ends_the_stack_with_its_reason(
    launch: Launch, processes: Find, behaviour: str, said: str
) -> None:
    code, errors = await end(await launch(LAUNCHER_OF_STUBS, behaviour))
    assert code == 1
    assert said in errors
    assert processes() == []


async def test_a_port_that_was_asked_for_and_is_taken_is_refused_before_anything_boots(
    launch: Launch, directory: RunDirectory
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, errors = await end(await launch(LAUNCHER_OF_STUBS, "well", GATEWAY_PORT=str(port)))
    assert code == 1
    assert errors.startswith(f"Port {port}, asked for gateway, is taken")
    assert not (directory.path / "postgres").exists()


@pytest.mark.parametrize("victim", ["left", "kafka", "postgres"])
async def test_a_part_that_dies_while_serving_ends_the_stack_with_its_name(
    launch: Launch, directory: RunDirectory, processes: Find, victim: str
) -> None:
    process = await launch(LAUNCHER_OF_STUBS, "well")
    await serving(process)
    running = directory.running(victim)
    assert running is not None
    running.identity.send(signal.SIGKILL)
    code, errors = await end(process)
    assert code == 1
    assert errors.startswith(f"{victim} stopped by itself")
    assert processes() == []
    assert list((directory.path / "pids").iterdir()) == []


MOMENTS: dict[str, Callable[[RunDirectory], bool]] = {
    "before anything": lambda directory: directory.running(LAUNCHER) is not None,
    "while the data is made": lambda directory: (directory.path / "postgres.new").exists(),
    "while the server starts": lambda directory: (directory.path / "pids" / "postgres.json").exists(),
    "while topics are made": lambda directory: (directory.path / "preparing").exists(),
    "while programs start": lambda directory: "right started" in journal(directory),
}


@pytest.mark.parametrize(
    ("moment", "signum"),
    [*((moment, signal.SIGTERM) for moment in MOMENTS), ("while the server starts", signal.SIGINT)],
)
async def test_a_signal_during_the_start_leaves_nothing(
    launch: Launch,
    directory: RunDirectory,
    eventually: Eventually,
    processes: Find,
    moment: str,
    signum: signal.Signals,
) -> None:
    if moment == "while topics are made":
        (directory.path / "wait").touch()
    process = await launch(LAUNCHER_OF_STUBS, "hang")
    await eventually(lambda: MOMENTS[moment](directory), process)
    process.send_signal(signum)
    assert await end(process) == (0, "")
    assert processes() == []
    assert list((directory.path / "pids").iterdir()) == []
    assert not (directory.path / "postgres.password").exists()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 1), (signal.SIGKILL, -signal.SIGKILL)])
async def test_infrastructure_that_was_not_all_up_is_not_left_running(
    launch: Launch,
    directory: RunDirectory,
    eventually: Eventually,
    processes: Find,
    settings: Settings,
    signum: signal.Signals,
    code: int,
) -> None:
    process = await launch("-m", "ordermesh.cli", "infra", "up")
    await eventually(lambda: directory.running("postgres"), process)
    process.send_signal(signum)
    assert (await end(process))[0] == code
    if signum is signal.SIGKILL:
        # Killed, it cannot clean up: the next command does.
        await take_down(settings)
    assert processes() == []


async def test_a_second_signal_does_not_interrupt_the_cleaning_up(
    launch: Launch, directory: RunDirectory, eventually: Eventually, processes: Find
) -> None:
    process = await launch(LAUNCHER_OF_STUBS, "well")
    await serving(process)
    process.send_signal(signal.SIGINT)
    await eventually(lambda: "last stopped" in journal(directory), process)
    process.send_signal(signal.SIGINT)
    assert await end(process) == (0, "")
    assert journal(directory)[-1] == "first stopped"
    assert processes() == []


async def test_everything_dies_with_a_launcher_that_is_killed(
    launch: Launch, directory: RunDirectory
) -> None:
    process = await launch(LAUNCHER_OF_STUBS, "well")
    await serving(process)
    identities = [running.identity for running in directory.all_running().values()]
    assert len(identities) == 7
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    for identity in identities:
        assert await gone(identity, seconds=60)
    assert Identity.of(process.pid) is None
