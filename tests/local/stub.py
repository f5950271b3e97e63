"""Stands for a service: answers /health/ready, obeys SIGTERM, writes what it did to the JOURNAL that all stubs share.

BEHAVIOUR is "well" or one of: "refuse" (a command of it fails), "die" (it ends before it is ready), "hang" (it never is ready).
"""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME, BEHAVIOUR = os.environ["NAME"], os.environ["BEHAVIOUR"]


def note(event: str) -> None:
    # One write of a short line to a file opened for appending is not mixed with another's.
    with Path(os.environ["JOURNAL"]).open("a") as journal:
        journal.write(f"{NAME} {event}\n")


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if BEHAVIOUR == "hang" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def serve() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Health)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    note("started")
    if BEHAVIOUR == "die":
        sys.exit("this stub was told to die")
    server.serve_forever(poll_interval=0.02)
    note("stopped")


if __name__ == "__main__":
    if sys.argv[1:]:
        note(" ".join(sys.argv[1:]))
        if BEHAVIOUR == "refuse":
            sys.exit("this stub was told to refuse")
    else:
        serve()
