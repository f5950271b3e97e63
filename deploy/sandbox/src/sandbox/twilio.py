"""Twilio's Messages API: accepts text messages and records them; nothing is sent.

Promises: as at Twilio, sending twice is two messages. Magic recipients: +15005550001 is no number (error 21211),
+15005550009 has opted out (error 21610).
"""

import base64
import binascii
import re
import secrets
import time
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.routing import BaseRoute

from sandbox.endpoint import Answer, Call, Endpoints, Refusal
from sandbox.injection import Injection
from sandbox.record import Record
from sandbox.state import State

MESSAGES = "/2010-04-01/Accounts/{account}/Messages"
NUMBER = re.compile(r"\+[1-9]\d{6,14}")
INVALID, OPTED_OUT = "+15005550001", "+15005550009"
MAX_BODY = 1_600
DEFAULT_PAGE, MAX_PAGE = 50, 1_000


class Refused(Refusal):
    """Twilio's error body."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        body = {
            "code": code,
            "message": message,
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        }
        super().__init__(Answer.json(body, status))


def failure(status: int, message: str) -> Answer:
    """What Twilio answers when it is not the caller's fault."""
    return Refused(20_000 + status, message, status).answer


class Twilio:
    """`routes` are served under /twilio."""

    def __init__(self, state: State, record: Record, faults: Injection) -> None:
        self._state = state
        self._record = record
        endpoints = Endpoints(
            "twilio", state=state, record=record, faults=faults, admit=admit, failure=failure
        )
        self.routes: list[BaseRoute] = [
            endpoints.route("POST", f"{MESSAGES}.json", "messages.create", self._create),
            endpoints.route("GET", f"{MESSAGES}.json", "messages.list", self._list),
            endpoints.route("GET", f"{MESSAGES}/{{sid}}.json", "messages.fetch", self._fetch),
        ]

    def _create(self, call: Call) -> Answer:
        _check(call.params)
        message = _message(call.parts["account"], call.params)
        delivered = message | {"status": "delivered", "date_sent": message["date_created"]}
        links = {"to": message["to"], "from": message["from"] or ""}
        self._state.insert("twilio.message", message["sid"], delivered, created=int(time.time()), links=links)
        self._record.effect("twilio.message.sent", message["sid"], message, recipient=message["to"])
        return Answer.json(message, 201)

    def _fetch(self, call: Call) -> Answer:
        message = self._state.get("twilio.message", call.parts["sid"])
        if message is None:
            raise Refused(20404, f"The requested resource {call.path} was not found", 404)
        return Answer.json(message)

    def _list(self, call: Call) -> Answer:
        """Newest first; by `To` or `From`. One page: at most 1,000."""
        asked = str(call.params.get("PageSize") or DEFAULT_PAGE)
        if not asked.isdecimal():
            raise Refused(20001, f"Invalid page size {asked}")
        size = min(MAX_PAGE, int(asked))
        link = next(
            ((name.lower(), call.params[name]) for name in ("To", "From") if name in call.params), None
        )
        messages = self._state.find("twilio.message", link=link, limit=size)
        paging = {
            "page": 0,
            "page_size": size,
            "start": 0,
            "end": max(0, len(messages) - 1),
            "uri": call.path,
        }
        nowhere = {"first_page_uri": call.path, "next_page_uri": None, "previous_page_uri": None}
        return Answer.json({"messages": messages} | paging | nowhere)


def _check(params: dict[str, Any]) -> None:
    recipient, body = params.get("To", ""), params.get("Body", "")
    if not recipient:
        raise Refused(21604, "A 'To' phone number is required.")
    if not params.get("From") and not params.get("MessagingServiceSid"):
        raise Refused(21603, "A 'From' phone number is required.")
    if not body:
        raise Refused(21602, "Message body is required.")
    if len(body) > MAX_BODY:
        raise Refused(21617, f"The concatenated message body exceeds the {MAX_BODY} character limit")
    if recipient == INVALID or not NUMBER.fullmatch(recipient):
        raise Refused(21211, f"The 'To' number {recipient} is not a valid phone number.")
    if recipient == OPTED_OUT:
        raise Refused(21610, "Attempt to send to unsubscribed recipient")


def _message(account: str, params: dict[str, Any]) -> dict[str, Any]:
    sid = f"SM{secrets.token_hex(16)}"
    at = formatdate(usegmt=False, localtime=False)
    single, part = (160, 153) if params["Body"].isascii() else (70, 67)
    length = len(params["Body"])
    return {
        "account_sid": account,
        "api_version": "2010-04-01",
        "body": params["Body"],
        "date_created": at,
        "date_sent": None,
        "date_updated": at,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": params.get("From"),
        "messaging_service_sid": params.get("MessagingServiceSid"),
        "num_media": "0",
        "num_segments": str(1 if length <= single else -(-length // part)),
        "price": None,
        "price_unit": "USD",
        "sid": sid,
        "status": "queued",
        "subresource_uris": {"media": f"/2010-04-01/Accounts/{account}/Messages/{sid}/Media.json"},
        "to": params["To"],
        "uri": f"/2010-04-01/Accounts/{account}/Messages/{sid}.json",
    }


def admit(request: Request, body: bytes) -> Call:
    """Raises Refused (401) unless the account in the URL authenticates with some auth token."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        account, _, token = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        account = token = ""
    if scheme.lower() != "basic" or not token or account != request.path_params["account"]:
        raise Refused(20003, "Authenticate", 401)
    params = dict(parse_qsl((body or request.scope["query_string"]).decode(), keep_blank_values=True))
    return Call(path=request.scope["path"], parts=request.path_params, params=params, credential=account)
