"""Slack's incoming webhooks: accepts messages for one channel and records them. The pace of one a second is not enforced."""

import time
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.routing import BaseRoute

from sandbox.endpoint import Answer, Call, Endpoints, Refusal
from sandbox.injection import Injection
from sandbox.record import Record
from sandbox.state import State

TEAM, CHANNEL, SECRET = "T000", "B000", "secret"


class Slack:
    """`routes` are served under /slack; the webhook's URL ends with services/T000/B000/secret."""

    def __init__(self, state: State, record: Record, faults: Injection) -> None:
        self._record = record
        endpoints = Endpoints(
            "slack", state=state, record=record, faults=faults, admit=admit, failure=failure
        )
        path = "/services/{team}/{channel}/{secret}"
        self.routes: list[BaseRoute] = [endpoints.route("POST", path, "webhooks.post", self._post)]

    def _post(self, call: Call) -> Answer:
        if not any(call.params.get(part) for part in ("text", "blocks", "attachments")):
            raise Refusal(Answer.text("no_text", 400))
        resource = f"{CHANNEL}-{time.time_ns()}"
        self._record.effect("slack.message", resource, call.params, recipient=f"{TEAM}/{CHANNEL}")
        return Answer.text("ok")


def failure(status: int, message: str) -> Answer:
    return Answer.text(message, status)


def admit(request: Request, body: bytes) -> Call:
    """Raises Refusal with Slack's words: 404 for an unknown hook, 403 for a wrong secret, 400 for a bad payload."""
    parts = request.path_params
    if (parts["team"], parts["channel"]) != (TEAM, CHANNEL):
        raise Refusal(Answer.text("no_service", 404))
    if parts["secret"] != SECRET:
        raise Refusal(Answer.text("invalid_token", 403))
    try:
        form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        payload: Any = orjson.loads(parse_qs(body.decode())["payload"][0] if form else body)
    except (KeyError, ValueError):
        payload = None
    if not isinstance(payload, dict):
        raise Refusal(Answer.text("invalid_payload", 400))
    return Call(path="/services", parts=parts, params=payload)
