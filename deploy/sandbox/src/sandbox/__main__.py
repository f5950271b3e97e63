"""`python -m sandbox`: serve until SIGTERM or SIGINT, then exit 0.

The one line on standard output is JSON with the addresses that were chosen: {"url": ..., "smtp_port": ...}.
"""

import asyncio
import logging
import signal

import orjson
import uvloop

from sandbox.app import running
from sandbox.settings import Settings


async def serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as box:
        print(orjson.dumps({"url": box.url, "smtp_port": box.smtp_port}).decode(), flush=True)
        await stop.wait()


def main() -> None:
    settings = Settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # aiosmtpd logs peers and recipients at INFO: personal data stays out of the logs.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


if __name__ == "__main__":
    main()
