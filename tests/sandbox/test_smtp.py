"""Mail through the standard library's client."""

import asyncio
import smtplib
from email.message import EmailMessage

import pytest

import sandbox


def mail(to: str, order_id: str = "") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "shop@example.test", to
    message["Subject"] = "Your order № 7 was paid"
    message["Message-ID"] = f"<{to}>"
    if order_id:
        message["X-Order-Id"] = order_id
    message.set_content("Thank you.\n.\nThe shop\n")
    message.add_alternative("<p>Thank you.</p>", subtype="html")
    return message


def send(box: sandbox.Box, *messages: EmailMessage) -> None:
    with smtplib.SMTP("127.0.0.1", box.smtp_port, timeout=5) as relay:
        for message in messages:
            relay.send_message(message)


async def test_mails_are_recorded_whole(box: sandbox.Box, order_id: str) -> None:
    ada, bob = mail(f"ada-{order_id}@example.test", order_id), mail(f"bob-{order_id}@example.test", order_id)
    await asyncio.to_thread(send, box, ada, bob)
    first, second = box.record.effects(kind="smtp.message", order_id=order_id)
    assert (first.recipient, second.recipient) == (ada["To"], bob["To"])
    assert first.resource == first.payload["message_id"] == ada["Message-ID"]
    assert first.payload["subject"] == "Your order № 7 was paid"
    assert (first.payload["from"], first.payload["to"]) == ("shop@example.test", [ada["To"]])
    assert first.payload["size"] == len(first.payload["message"])
    assert "<p>Thank you.</p>" in first.payload["message"]


async def test_a_recipient_at_the_bouncing_domain_is_refused(box: sandbox.Box, order_id: str) -> None:
    bouncing = mail(f"{order_id}@Bounce.test", order_id)
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        await asyncio.to_thread(send, box, bouncing)
    ((status, _),) = refused.value.recipients.values()
    assert status == 550
    assert not box.record.effects(order_id=order_id)


async def test_an_open_connection_does_not_hold_up_the_end(settings: sandbox.Settings) -> None:
    async with sandbox.running(settings) as box:
        reader, writer = await asyncio.open_connection("127.0.0.1", box.smtp_port)
        assert (await reader.readline()).startswith(b"220 ")
    assert await reader.read() == b""
    writer.close()
