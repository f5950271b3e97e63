"""The bytes of an email, read back by the standard library."""

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest

from notifications.mime import Mail

MAIL = Mail(
    sender="Mugs <shop@example.test>",
    to="ann@example.com",
    subject="Your order ORD-1 is paid",
    text="Hello Änne,\n\n= is escaped.\n.\nFrom the shop\n" + "x" * 300,
    html="<p>Hello Änne</p>",
    message_id="<1@example.test>",
    order_id="01a2014c-8852-7353-b1a9-a6c46d550672",
    at=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
)


def read(mail: Mail) -> EmailMessage:
    message = message_from_bytes(bytes(mail), policy=default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def test_a_mail_reads_back_as_it_was_written() -> None:
    message = read(MAIL)
    assert (message["From"], message["To"], message["Subject"]) == (MAIL.sender, MAIL.to, MAIL.subject)
    assert message["Date"].datetime == MAIL.at
    assert (message["Message-ID"], message["X-Order-Id"]) == (MAIL.message_id, MAIL.order_id)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().splitlines() == MAIL.text.splitlines()
    assert html.get_content().strip() == MAIL.html


def test_every_line_ends_as_smtp_wants_and_is_short() -> None:
    raw = bytes(replace(MAIL, text="one\r\ntwo\rthree\n" + MAIL.text))
    assert raw.replace(b"\r\n", b"").count(b"\r") == raw.replace(b"\r\n", b"").count(b"\n") == 0
    assert max(map(len, raw.split(b"\r\n"))) <= 100
    assert raw.isascii()


@pytest.mark.parametrize("subject", ["Bestellung №7 ist unterwegs", "Zahlung " + "ü" * 80])
def test_a_subject_in_any_language_reads_back(subject: str) -> None:
    assert read(replace(MAIL, subject=subject))["Subject"] == subject


def test_a_subject_cannot_smuggle_in_a_header() -> None:
    message = read(replace(MAIL, subject="Paid\r\nBcc: eve@example.com"))
    assert message["Bcc"] is None
    assert message["Subject"] == "Paid Bcc: eve@example.com"
