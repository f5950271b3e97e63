"""The three ways out: an SMTP server, Twilio, a Slack webhook. The only module that speaks to them.

Each answers a typed outcome and raises only when nobody can tell whether the message went out. Their reply codes become our
outcomes by the tables here. Connections are opened at first use, kept, and closed by `close`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formataddr
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import orjson
import structlog
from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
)
from twilio.rest import Client as TwilioClient

from notifications.domain import Message, Outcome, Status
from notifications.mime import Mail

log = structlog.get_logger(__name__)

PERMANENT = 500
"""SMTP replies from here on are final, those below say "try again". Source: RFC 5321, 4.2.1."""
CLIENT_ERROR, SERVER_ERROR = 400, 500
UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""No connection came about, so surely nothing went out."""

TWILIO_REPLIES: Mapping[int, Outcome] = {
    21211: Outcome(Status.FAILED, "not a valid phone number"),
    21214: Outcome(Status.FAILED, "the phone number cannot be reached"),
    21265: Outcome(Status.FAILED, "the phone number is a short code"),
    21408: Outcome(Status.FAILED, "SMS to this region is not enabled"),
    21610: Outcome(Status.SKIPPED, "the recipient has opted out"),
    21612: Outcome(Status.FAILED, "our number cannot reach this phone number"),
    21614: Outcome(Status.FAILED, "not a mobile phone number"),
    21617: Outcome(Status.FAILED, "the message is too long"),
    # Ours to set right, and worth sending once it is.
    20003: Outcome(Status.REQUESTED, "Twilio does not know our credentials"),
    20005: Outcome(Status.REQUESTED, "our Twilio account is not active"),
    20429: Outcome(Status.REQUESTED, "too many requests"),
    21603: Outcome(Status.REQUESTED, "our sender's number is not set"),
    21606: Outcome(Status.REQUESTED, "our sender's number cannot send"),
    21659: Outcome(Status.REQUESTED, "our sender's number is not ours"),
}
"""Twilio's error code -> what it means for the message. Source: twilio.com/docs/api/errors. REQUESTED: later. Any other one is FAILED."""

SLACK_REPLIES: Mapping[int, Outcome] = {
    200: Outcome(Status.SENT),
    403: Outcome(Status.REQUESTED, "the webhook was disabled or its secret is wrong"),
    404: Outcome(Status.REQUESTED, "the webhook or its channel is gone"),
    410: Outcome(Status.REQUESTED, "the webhook's channel is archived"),
    429: Outcome(Status.REQUESTED, "too many requests"),
}
"""HTTP status -> outcome; any other below 500 is FAILED. Source: Slack, "Sending messages using incoming webhooks"."""


class ProviderFault(RuntimeError):
    """The provider answered that something broke on its side: whether the message went out is unknown."""


class Email:
    """Sends by SMTP. As many connections are kept as were once needed at the same time."""

    def __init__(self, url: str, sender: str, *, shop: str, timeout_seconds: float) -> None:
        """`url` as settings.smtp_url has it. Raises ValueError for another scheme or no host."""
        parts = urlsplit(url)
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise ValueError("SMTP_URL is smtp://host:port or smtps://host:port")
        self._domain = sender.rpartition("@")[2]
        self._server: dict[str, Any] = {
            "hostname": parts.hostname,
            "port": parts.port,
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "use_tls": parts.scheme == "smtps",
            "local_hostname": self._domain,
            "timeout": timeout_seconds,
        }
        self._address = sender
        self._from = formataddr((shop, sender))
        self._idle: list[SMTP] = []

    async def send(self, message: Message) -> Outcome:
        """The Message-ID follows from the notification: a mailbox may drop the copy of an uncertain attempt."""
        mail = Mail(
            sender=self._from,
            to=message.to,
            subject=message.subject,
            text=message.text,
            html=message.html,
            message_id=f"<{message.notification_id}@{self._domain}>",
            order_id=message.order_id,
            at=datetime.now(UTC),
        )
        try:
            smtp = await self._connection()
        except (SMTPException, OSError) as away:
            return Outcome(Status.REQUESTED, f"the mail server does not take us: {type(away).__name__}")
        return await self._deliver(smtp, mail)

    async def close(self) -> None:
        for smtp in self._idle:
            smtp.close()
        self._idle.clear()

    async def _connection(self) -> SMTP:
        """A kept one that its server has not closed meanwhile, or a new one."""
        while self._idle:
            smtp = self._idle.pop()
            if smtp.is_connected:
                return smtp
        smtp = SMTP(**self._server)
        await smtp.connect()
        return smtp

    async def _deliver(self, smtp: SMTP, mail: Mail) -> Outcome:
        options = [] if mail.to.isascii() else ["SMTPUTF8"]
        try:
            await smtp.sendmail(self._address, [mail.to], bytes(mail), mail_options=options)
            outcome = Outcome(Status.SENT, provider_id=mail.message_id)
        except (SMTPResponseException, SMTPRecipientsRefused) as refusal:
            outcome = _refused(refusal)
        except (SMTPNotSupported, ValueError):
            outcome = Outcome(Status.FAILED, "the address cannot be used")
        except BaseException:
            smtp.close()  # in the middle of a command: the next answer would be taken for another one's
            raise
        if smtp.is_connected:
            self._idle.append(smtp)
        return outcome


def _refused(refusal: SMTPResponseException | SMTPRecipientsRefused) -> Outcome:
    """The reply's code only: its text repeats the address."""
    about_us = not isinstance(refusal, SMTPRecipientsRefused | SMTPDataError)
    code = refusal.recipients[0].code if isinstance(refusal, SMTPRecipientsRefused) else refusal.code
    if code >= PERMANENT and not about_us:
        return Outcome(Status.FAILED, f"the mail server refused it ({code})")
    if about_us:
        log.error("the mail server refuses our sender", code=code)
    return Outcome(Status.REQUESTED, f"the mail server refused it for now ({code})")


class Sms:
    """Sends by Twilio's SDK, without its resource classes: they cost 0.5 s of CPU and 10 MB at first use."""

    def __init__(
        self, base: str, account_sid: str, auth_token: str, sender: str, *, shop: str, timeout_seconds: float
    ) -> None:
        self._url = f"{base.rstrip('/')}/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._sender, self._shop = sender, shop
        self._transport = _Transport(timeout_seconds)
        self._client = TwilioClient(account_sid, auth_token, http_client=self._transport)

    async def send(self, message: Message) -> Outcome:
        """Raises TimeoutError, aiohttp.ClientError and ProviderFault when it may have gone out."""
        try:
            status, answer = await self._request(
                "POST", data={"To": message.to, "From": self._sender, "Body": self._body(message)}
            )
        except UNREACHABLE as away:
            return Outcome(Status.REQUESTED, f"Twilio cannot be reached: {type(away).__name__}")
        if status < CLIENT_ERROR:
            return Outcome(Status.SENT, provider_id=answer["sid"])
        code = answer.get("code", 0)
        outcome = TWILIO_REPLIES.get(code)
        if outcome is None:
            log.error("Twilio answers with a code that we do not know", code=code, status=status)
            return Outcome(Status.FAILED, f"Twilio refused it ({code})")
        return outcome

    async def find(self, message: Message) -> str | None:
        """The id under which Twilio took this very message, among the newest to its recipient. Raises as `send` does.

        There is no filter by date sent: a message that is still queued has none.
        """
        status, answer = await self._request("GET", params={"To": message.to, "PageSize": "100"})
        if status >= CLIENT_ERROR:
            raise ProviderFault(f"Twilio answered {status}")
        body = self._body(message)
        return next((str(sent["sid"]) for sent in answer["messages"] if sent["body"] == body), None)

    async def close(self) -> None:
        await self._transport.close()

    def _body(self, message: Message) -> str:
        return f"{self._shop}: {message.text}"

    async def _request(self, method: str, **arguments: dict[str, str]) -> tuple[int, dict[str, Any]]:
        status, body = await self._client.request_async(method, self._url, **arguments)
        if status >= SERVER_ERROR:
            raise ProviderFault(f"Twilio answered {status}")
        return status, orjson.loads(body)


class _Transport:
    """What Twilio's SDK sends by. Its own one writes phone numbers into the log, ignores its timeout and is slower."""

    is_async = True

    def __init__(self, timeout_seconds: float) -> None:
        self._http = _Http(timeout_seconds)

    async def request(
        self,
        method: str,
        url: str,
        *,
        auth: tuple[str, str],
        headers: dict[str, str],
        **arguments: Any,
    ) -> tuple[int, bytes]:
        """Called by the SDK, with `params` and `data` among the arguments."""
        headers = {**headers, "Authorization": aiohttp.encode_basic_auth(*auth)}
        return await self._http.request(
            method, url, headers=headers, params=arguments["params"], data=arguments["data"]
        )

    async def close(self) -> None:
        await self._http.close()


class Slack:
    """Posts to one incoming webhook: a single POST, for which its SDK would only add weight."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self._url = url
        self._http = _Http(timeout_seconds)

    async def post(self, texts: Sequence[str]) -> Outcome:
        """All texts in one message, a line each. Raises TimeoutError, aiohttp.ClientError and ProviderFault."""
        body, headers = orjson.dumps({"text": "\n".join(texts)}), {"Content-Type": "application/json"}
        try:
            status, _ = await self._http.request("POST", self._url, data=body, headers=headers)
        except UNREACHABLE as away:
            return Outcome(Status.REQUESTED, f"Slack cannot be reached: {type(away).__name__}")
        if status >= SERVER_ERROR:
            raise ProviderFault(f"Slack answered {status}")
        return SLACK_REPLIES.get(status) or Outcome(Status.FAILED, f"Slack refused it ({status})")

    async def close(self) -> None:
        await self._http.close()


class _Http:
    """An aiohttp session that is opened at first use: there is no loop yet when the service is put together."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=timeout_seconds / 2)
        self._session: aiohttp.ClientSession | None = None

    async def request(self, method: str, url: str, **arguments: Any) -> tuple[int, bytes]:
        """The answer's status and body. Raises TimeoutError and aiohttp.ClientError, UNREACHABLE when nothing was sent."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        async with self._session.request(method, url, allow_redirects=False, **arguments) as response:
            return response.status, await response.read()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
