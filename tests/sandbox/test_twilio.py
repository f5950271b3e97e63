"""Text messages through the official SDK, pointed at the sandbox by its HTTP client."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pyreqwest.client import Client as Http
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

import sandbox

SHOP = "+15005550006"


class Redirected(TwilioHttpClient):  # type: ignore[misc]  # the SDK ships no types
    """The SDK has one fixed host; this client sends its requests to another."""

    def __init__(self, base: str) -> None:
        super().__init__(timeout=5)
        assert self.session is not None
        self.session.trust_env = False
        self.base = base

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        return super().request(method, url.replace("https://api.twilio.com", self.base), *args, **kwargs)


@pytest.fixture(scope="module")
def phone(box: sandbox.Box) -> Iterator[Client]:
    http_client = Redirected(f"{box.url}/twilio")
    yield Client("AC_test", "token", http_client=http_client)
    assert http_client.session is not None
    http_client.session.close()


async def test_a_message_is_accepted_recorded_and_found(box: sandbox.Box, phone: Client) -> None:
    sent = await asyncio.to_thread(
        phone.messages.create, to="+15551230001", from_=SHOP, body="Your order is on its way"
    )
    assert (sent.status, sent.to, sent.num_segments) == ("queued", "+15551230001", "1")
    assert sent.date_created is not None
    found = await asyncio.to_thread(phone.messages(str(sent.sid)).fetch)
    assert (found.status, found.body) == ("delivered", "Your order is on its way")
    await asyncio.to_thread(
        phone.messages.create, to="+15551230001", from_=SHOP, body="Your order has arrived"
    )
    listed = await asyncio.to_thread(phone.messages.list, to="+15551230001")
    assert [message.body for message in listed] == ["Your order has arrived", "Your order is on its way"]
    effects = [e for e in box.record.effects(kind="twilio.message.sent") if e.recipient == "+15551230001"]
    assert [effect.resource for effect in effects] == [message.sid for message in reversed(listed)]


@pytest.mark.parametrize(
    ("to", "body", "code"),
    [
        ("+15005550001", "Hi", 21211),
        ("12", "Hi", 21211),
        ("+15005550009", "Hi", 21610),
        ("+15551230002", "x" * 1_601, 21617),
    ],
)
async def test_refused_messages_have_twilios_codes_and_no_effect(
    box: sandbox.Box, phone: Client, to: str, body: str, code: int
) -> None:
    with pytest.raises(TwilioRestException) as refused:
        await asyncio.to_thread(phone.messages.create, to=to, from_=SHOP, body=body)
    assert (refused.value.status, refused.value.code) == (400, code)
    assert to not in [effect.recipient for effect in box.record.effects(kind="twilio.message.sent")]


async def test_only_the_account_itself_may_send(box: sandbox.Box, http: Http) -> None:
    url = f"{box.url}/twilio/2010-04-01/Accounts/AC_test/Messages.json"
    for request in (
        http.post(url),
        http.post(url).basic_auth("AC_other", "token"),
        http.post(url).bearer_auth("token"),
    ):
        answer = await request.form({"To": "+15551230003", "From": SHOP, "Body": "Hi"}).build().send()
        assert answer.status == 401
        assert (await answer.json())["code"] == 20003
