"""An SMTP relay that records every message and delivers none. Recipients at bounce.test are refused (550)."""

import asyncio
import socket
import weakref
from email.parser import BytesHeaderParser
from email.policy import default

from aiosmtpd.smtp import SMTP, Envelope, Session

from sandbox.injection import Injection, Kind
from sandbox.record import Record
from sandbox.state import State

REFUSED_DOMAIN = "bounce.test"
MAX_SIZE = 10_485_760  # bytes
# A sender may say which order a message is about; mail itself has no field for it.
ORDER_HEADER = "X-Order-Id"
ENDPOINT = "smtp.message"
# Whatever goes wrong on a relay's own side is worth trying again: 4yz (RFC 5321, 4.2.1).
REPLIES = {
    Kind.UNAVAILABLE: "421 4.3.2 Service not available",
    Kind.RATE_LIMITED: "450 4.7.1 Too many messages, slow down",
    Kind.ERROR: "451 4.3.0 Local error in processing",
    Kind.ERROR_AFTER_EFFECT: "451 4.3.0 Local error in processing",
}


class Sink:
    """The handler whose hooks aiosmtpd calls."""

    def __init__(self, state: State, record: Record, faults: Injection) -> None:
        self._state = state
        self._record = record
        self._faults = faults
        faults.register(ENDPOINT)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd finds hooks by these names
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.rpartition("@")[2].lower() == REFUSED_DOMAIN:
            return f"550 5.1.1 <{address}>: Recipient address rejected"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        """Raises ConnectionResetError for no answer: aiosmtpd then drops the connection."""
        fault = self._faults.choose(ENDPOINT)
        if fault is None:
            return await self._take(envelope)
        self._faults.note(fault, "")
        if fault.kind is Kind.SLOW:
            await asyncio.sleep(fault.seconds)
            return await self._take(envelope)
        if fault.kind is Kind.HANG:
            await asyncio.Event().wait()  # cancelled with the session, once the client gives up
        if fault.kind in (Kind.LOST_ANSWER, Kind.ERROR_AFTER_EFFECT):
            await self._take(envelope)
        if fault.kind in REPLIES:
            return REPLIES[fault.kind]
        raise ConnectionResetError(fault.kind)

    async def _take(self, envelope: Envelope) -> str:
        return await self._faults.scripted.around(ENDPOINT, lambda: self._keep(envelope))

    def _keep(self, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        headers = BytesHeaderParser(policy=default).parsebytes(content)
        message = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "subject": str(headers["Subject"] or ""),
            "message_id": str(headers["Message-ID"] or ""),
            "size": len(content),
            "message": content.decode(errors="replace"),
        }
        order_id = headers[ORDER_HEADER]
        with self._state.transaction():
            self._record.effect(
                "smtp.message",
                str(headers["Message-ID"] or ""),
                message,
                order_id=str(order_id) if order_id else None,
                recipient=", ".join(envelope.rcpt_tos),
            )
        return "250 OK: recorded"


class SmtpServer:
    """Serves `sock` until closed."""

    def __init__(self, sink: Sink, sock: socket.socket) -> None:
        self._sink = sink
        self._sock = sock
        self._sessions: weakref.WeakSet[SMTP] = weakref.WeakSet()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(self._session, sock=self._sock)

    async def close(self) -> None:
        """Stop listening and drop the open connections; a message without its final dot is not recorded."""
        if self._server is not None:
            self._server.close()
            for session in list(self._sessions):
                if session.transport is not None:
                    session.transport.close()
            await self._server.wait_closed()

    def _session(self) -> SMTP:
        session = SMTP(
            self._sink,
            data_size_limit=MAX_SIZE,
            enable_SMTPUTF8=True,
            hostname="sandbox.test",
            ident="Ordermesh sandbox",
            loop=asyncio.get_running_loop(),
        )
        self._sessions.add(session)
        return session
