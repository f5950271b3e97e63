"""A launcher of stubs, as a process of its own: `launch.py BEHAVIOUR`; says "serving" on stdout once all is ready."""

import asyncio
import sys
from pathlib import Path

from ordermesh.errors import LauncherError
from ordermesh.infrastructure import Infrastructure
from ordermesh.programs import Program, Surroundings, Waves
from ordermesh.settings import Settings
from ordermesh.signals import run_until_signalled
from ordermesh.stack import serving

STUB = Path(__file__).with_name("stub.py")


def stubs(around: Surroundings, behaviour: str) -> Waves:
    """One before, two in the middle (the second with commands and the given behaviour), one after.

    "robbed": the second is given a port at which another program serves, the first one.
    """

    def program(name: str, *before: str, behaviour: str = "well") -> Program:
        port = around.directory.port("first" if behaviour == "robbed" else name)
        journal = str(around.directory.path / "journal")
        environment = {"NAME": name, "BEHAVIOUR": behaviour, "PORT": str(port), "JOURNAL": journal}
        return Program(name, port, environment, (sys.executable, str(STUB)), before)

    steps = ("migrate", "outbox replay") if around.refill else ("migrate",)
    return (
        (program("first"),),
        (program("left"), program("right", *steps, behaviour=behaviour)),
        (program("last"),),
    )


async def prepare(infrastructure: Infrastructure, settings: Settings) -> None:
    """Instead of the topics, of which stubs have none: it takes until somebody removes the file that it waits for."""
    assert infrastructure.dead() is None
    (settings.ordermesh_home / "preparing").touch()
    while (settings.ordermesh_home / "wait").exists():
        await asyncio.sleep(0.01)


async def launch(behaviour: str) -> None:
    settings = Settings.read()
    async with serving(settings, table=lambda around: stubs(around, behaviour), prepare=prepare) as stack:
        print("serving", flush=True)
        await stack.watch()


if __name__ == "__main__":
    try:
        run_until_signalled(launch(sys.argv[1]))
    except LauncherError as error:
        sys.exit(str(error))
