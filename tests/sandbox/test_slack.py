"""Slack's incoming webhook through the official SDK."""

import asyncio

from pyreqwest.client import Client
from slack_sdk.webhook import WebhookClient

import sandbox


async def test_a_message_is_accepted_and_recorded(box: sandbox.Box) -> None:
    channel = WebhookClient(f"{box.url}/slack/services/T000/B000/secret")
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*paid*"}}]
    answer = await asyncio.to_thread(channel.send, text="Order 7 was paid", blocks=blocks)
    assert (answer.status_code, answer.body) == (200, "ok")
    effect = box.record.effects(kind="slack.message")[-1]
    assert effect.payload == {"text": "Order 7 was paid", "blocks": blocks}


async def test_wrong_urls_and_payloads_are_refused_in_slacks_words(box: sandbox.Box, http: Client) -> None:
    before = len(box.record.effects(kind="slack.message"))
    for path, body, expected in (
        ("T000/B000/wrong", b'{"text":"x"}', (403, "invalid_token")),
        ("T000/B999/secret", b'{"text":"x"}', (404, "no_service")),
        ("T000/B000/secret", b"not json", (400, "invalid_payload")),
        ("T000/B000/secret", b"{}", (400, "no_text")),
    ):
        answer = await http.post(f"{box.url}/slack/services/{path}").body_bytes(body).build().send()
        assert (answer.status, await answer.text()) == expected
    assert len(box.record.effects(kind="slack.message")) == before
