"""The three ways out, against servers that really answer: what each answer means, and connections that come and go."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import aiohttp
import pytest
from aiosmtplib import SMTPServerDisconnected
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import sandbox
from notifications.channels import (
    SLACK_REPLIES,
    TWILIO_REPLIES,
    Email,
    ProviderFault,
    Slack,
    Sms,
)
from notifications.domain import Guarantee, Message, Outcome, Status
from shared.testing import free_socket, serving


def a_message(to: str) -> Message:
    return Message(
        notification_id=str(uuid4()),
        order_id=str(uuid4()),
        to=to,
        subject="Paid",
        text=f"Paid {uuid4()}",
        html="<p>Paid</p>",
        guarantee=Guarantee.AT_LEAST_ONCE,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )


@asynccontextmanager
async def emailing(port: int) -> AsyncIterator[Email]:
    email = Email(f"smtp://127.0.0.1:{port}", "shop@example.test", shop="Mügs, Inc.", timeout_seconds=5)
    yield email
    await email.close()


@asynccontextmanager
async def mail_server(**replies: str | None) -> AsyncIterator[int]:
    """A bare SMTP server that answers a command as told, else with 250; at None it hangs up."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            writer.write(b"220 mail.test\r\n")
            while line := await reader.readline():
                command = line.split()[0].decode().upper()
                if command == "DATA":
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                reply = replies.get(command, "250 OK")
                if reply is None:
                    return
                writer.write(f"{reply}\r\n".encode())

    async with await asyncio.start_server(session, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


class TestEmail:
    async def test_a_mail_arrives_under_an_id_that_a_repeat_has_too(self, box: sandbox.Box) -> None:
        message = a_message("ann@example.com")
        async with emailing(box.smtp_port) as email:
            outcomes = [await email.send(message) for _ in range(2)]
        message_id = f"<{message.notification_id}@example.test>"
        assert outcomes == [Outcome(Status.SENT, provider_id=message_id)] * 2
        first, second = box.record.effects(kind="smtp.message", order_id=message.order_id)
        assert first.payload["message_id"] == second.payload["message_id"] == message_id
        assert (first.payload["from"], first.payload["to"]) == ("shop@example.test", ["ann@example.com"])
        assert message.text in first.payload["message"]

    async def test_a_recipient_refused_is_final_and_the_connection_serves_on(self, box: sandbox.Box) -> None:
        good = a_message("ann@example.com")
        async with emailing(box.smtp_port) as email:
            refused = await email.send(a_message("gone@bounce.test"))
            assert (await email.send(good)).status is Status.SENT
            assert len(email._idle) == 1
        assert refused == Outcome(Status.FAILED, "the mail server refused it (550)")
        assert len(box.record.effects(kind="smtp.message", order_id=good.order_id)) == 1

    async def test_many_at_once_each_arrive_once(self, box: sandbox.Box) -> None:
        messages = [a_message(f"ann{n}@example.com") for n in range(20)]
        async with emailing(box.smtp_port) as email:
            outcomes = await asyncio.gather(*map(email.send, messages))
        assert {outcome.status for outcome in outcomes} == {Status.SENT}
        for message in messages:
            assert len(box.record.effects(kind="smtp.message", order_id=message.order_id)) == 1

    async def test_a_server_that_restarts_is_found_again(self) -> None:
        settings = sandbox.Settings(port=0, smtp_port=0)
        async with sandbox.running(settings) as box, emailing(box.smtp_port) as email:
            assert (await email.send(a_message("ann@example.com"))).status is Status.SENT
            port = box.smtp_port
        async with emailing(port) as stale:
            stale._idle = email._idle
            down = await stale.send(a_message("ann@example.com"))
            assert (down.status, down.reason) == (
                Status.REQUESTED,
                "the mail server does not take us: SMTPConnectError",
            )
            async with sandbox.running(settings.model_copy(update={"smtp_port": port})) as again:
                assert (await stale.send(a_message("ann@example.com"))).status is Status.SENT
                assert len(again.record.effects(kind="smtp.message")) == 1

    @pytest.mark.parametrize(
        ("replies", "status"),
        [
            ({"RCPT": "450 4.2.0 greylisted"}, Status.REQUESTED),
            ({"RCPT": "553 no such name"}, Status.FAILED),
            ({"DATA": "554 looks like spam"}, Status.FAILED),
            ({"DATA": "451 try later"}, Status.REQUESTED),
            ({"MAIL": "550 who are you"}, Status.REQUESTED),
        ],
    )
    async def test_a_reply_is_final_when_it_is_about_the_message(
        self, replies: dict[str, str], status: Status
    ) -> None:
        async with mail_server(**replies) as port, emailing(port) as email:
            outcome = await email.send(a_message("ann@example.com"))
        assert outcome.status is status
        assert "ann@" not in (outcome.reason or "")

    async def test_a_connection_lost_after_the_mail_leaves_its_fate_unknown(self) -> None:
        async with mail_server(DATA=None) as port, emailing(port) as email:
            with pytest.raises(SMTPServerDisconnected):
                await email.send(a_message("ann@example.com"))
            assert email._idle == []

    async def test_an_address_that_no_server_can_take_is_final(self) -> None:
        async with mail_server() as port, emailing(port) as email:
            for address in ("two words@example.com", "ännchen@example.com"):
                assert (await email.send(a_message(address))).status is Status.FAILED
            assert (await email.send(a_message("ann@example.com"))).status is Status.SENT

    @pytest.mark.parametrize("url", ["http://127.0.0.1:25", "127.0.0.1:25", "smtp://"])
    def test_another_sort_of_url_is_refused_at_once(self, url: str) -> None:
        with pytest.raises(ValueError, match="SMTP_URL"):
            Email(url, "shop@example.test", shop="Mugs", timeout_seconds=1)


Answer = Callable[[Request], Response]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """An HTTP server that answers everything so."""

    async def respond(request: Request) -> Response:
        return answer(request)

    app = Starlette(routes=[Route("/{path:path}", respond, methods=["GET", "POST"])])
    async with serving(app, free_socket()) as url:
        yield url


@asynccontextmanager
async def texting(base: str, timeout_seconds: float = 5) -> AsyncIterator[Sms]:
    sms = Sms(base, "AC123", "token", "+15005550006", shop="Mugs", timeout_seconds=timeout_seconds)
    yield sms
    await sms.close()


class TestSms:
    async def test_a_message_goes_out_under_the_shops_name_and_is_found_again(self, box: sandbox.Box) -> None:
        message = a_message("+14155550101")
        async with texting(f"{box.url}/twilio") as sms:
            assert await sms.find(message) is None
            outcome = await sms.send(message)
            assert await sms.find(message) == outcome.provider_id
            assert await sms.find(replace(message, to="+14155550102")) is None
        [sent] = [
            one
            for one in box.record.effects(kind="twilio.message.sent")
            if message.text in one.payload["body"]
        ]
        assert outcome == Outcome(Status.SENT, provider_id=sent.resource)
        assert (sent.payload["to"], sent.payload["from"]) == ("+14155550101", "+15005550006")
        assert sent.payload["body"] == f"Mugs: {message.text}"

    @pytest.mark.parametrize(
        ("to", "outcome"),
        [
            ("+15005550001", Outcome(Status.FAILED, "not a valid phone number")),
            ("12", Outcome(Status.FAILED, "not a valid phone number")),
            ("+15005550009", Outcome(Status.SKIPPED, "the recipient has opted out")),
        ],
    )
    async def test_a_number_that_cannot_be_reached_is_final(
        self, to: str, outcome: Outcome, box: sandbox.Box
    ) -> None:
        async with texting(f"{box.url}/twilio") as sms:
            assert await sms.send(a_message(to)) == outcome

    @pytest.mark.parametrize("code", TWILIO_REPLIES)
    async def test_a_code_means_what_the_table_says(self, code: int) -> None:
        async with answering(lambda _: JSONResponse({"code": code}, 400)) as url, texting(url) as sms:
            assert await sms.send(a_message("+1")) == TWILIO_REPLIES[code]

    async def test_a_code_that_we_do_not_know_is_final(self) -> None:
        async with answering(lambda _: JSONResponse({"code": 29999}, 400)) as url, texting(url) as sms:
            assert await sms.send(a_message("+1")) == Outcome(Status.FAILED, "Twilio refused it (29999)")

    async def test_wrong_credentials_are_ours_to_set_right_and_no_refusal(self, box: sandbox.Box) -> None:
        async with texting(f"{box.url}/twilio") as sms:
            sms._client.auth = ("AC124", "token")
            assert (await sms.send(a_message("+14155550101"))).status is Status.REQUESTED

    async def test_a_fault_of_theirs_leaves_its_fate_unknown(self) -> None:
        async with answering(lambda _: Response("oops", 503)) as url, texting(url) as sms:
            with pytest.raises(ProviderFault, match="503"):
                await sms.send(a_message("+1"))
            with pytest.raises(ProviderFault, match="503"):
                await sms.find(a_message("+1"))

    async def test_a_look_that_is_refused_says_nothing_about_the_message(self) -> None:
        async with answering(lambda _: JSONResponse({"code": 20003}, 401)) as url, texting(url) as sms:
            with pytest.raises(ProviderFault, match="401"):
                await sms.find(a_message("+1"))

    async def test_no_answer_in_time_leaves_its_fate_unknown(self) -> None:
        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        async with server, texting(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 0.2) as sms:
            with pytest.raises(TimeoutError):
                await sms.send(a_message("+1"))

    async def test_nobody_there_means_that_it_surely_did_not_go_out(self) -> None:
        async with texting(f"http://127.0.0.1:{closed_port()}") as sms:
            assert (await sms.send(a_message("+1"))).status is Status.REQUESTED
            with pytest.raises(aiohttp.ClientConnectorError):
                await sms.find(a_message("+1"))


def closed_port() -> int:
    """A port on which nothing listens."""
    with free_socket() as sock:
        port: int = sock.getsockname()[1]
    return port


@asynccontextmanager
async def posting(url: str) -> AsyncIterator[Slack]:
    slack = Slack(url, timeout_seconds=5)
    yield slack
    await slack.close()


class TestSlack:
    async def test_several_texts_are_one_message_a_line_each(self, box: sandbox.Box) -> None:
        texts = [f"alert {uuid4()} «ü»", "second"]
        async with posting(f"{box.url}/slack/services/T000/B000/secret") as slack:
            assert await slack.post(texts) == Outcome(Status.SENT)
        posted = [one.payload["text"] for one in box.record.effects(kind="slack.message")]
        assert posted.count("\n".join(texts)) == 1

    @pytest.mark.parametrize("path", ["T000/B000/wrong", "T000/B999/secret"])
    async def test_a_wrong_webhook_is_ours_to_set_right(self, path: str, box: sandbox.Box) -> None:
        async with posting(f"{box.url}/slack/services/{path}") as slack:
            assert (await slack.post(["alert"])).status is Status.REQUESTED

    @pytest.mark.parametrize("status", SLACK_REPLIES)
    async def test_a_status_means_what_the_table_says(self, status: int) -> None:
        async with answering(lambda _: Response("", status)) as url, posting(url) as slack:
            assert await slack.post(["alert"]) == SLACK_REPLIES[status]

    async def test_any_other_refusal_is_final_and_a_fault_of_theirs_unknown(self) -> None:
        async with answering(lambda _: Response("invalid_payload", 400)) as url, posting(url) as slack:
            assert (await slack.post(["alert"])).status is Status.FAILED
        async with answering(lambda _: Response("", 500)) as url, posting(url) as slack:
            with pytest.raises(ProviderFault, match="500"):
                await slack.post(["alert"])

    async def test_nobody_there_means_later(self) -> None:
        async with posting(f"http://127.0.0.1:{closed_port()}/x") as slack:
            assert (await slack.post(["alert"])).status is Status.REQUESTED
