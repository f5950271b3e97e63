"""Every message, as it is committed word by word in snapshots/; and what is not said, to whom, and why."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from notifications.domain import Channel, Contact, Guarantee, Message, Notification, Status
from notifications.messages import OCCASIONS, compose
from notifications.rendering import greeting, money
from shared.contracts import Fact
from shared.contracts.topics import TOPICS
from shared.recorder import GIVE_UP_AFTER

SNAPSHOTS = Path(__file__).parent / "snapshots"
ONE_SMS = 160
SHOP = "x" * 18 + ": "  # the longest name that a shop may have, as every SMS begins
FACTS = sorted(OCCASIONS, key=lambda fact: fact.type)
CONTACT = Contact(
    UUID(int=1), "ORD-20261122-00001", uuid4(), None, "USD", "Ann Lee", "ann@example.com", "+1 (415) 555-0101"
)

ExampleOf = Callable[..., Fact]


def composed(
    fact: Fact, contact: Contact | None = CONTACT, *, later: timedelta = timedelta()
) -> list[tuple[Notification, Message | None]]:
    return list(compose(fact, contact, datetime.now(UTC) + later, uuid4))


def message_of(channel: Channel, fact: Fact, contact: Contact | None = CONTACT) -> Message:
    [message] = [message for one, message in composed(fact, contact) if one.channel is channel]
    assert message is not None
    return message


def shown(notification: Notification, message: Message | None) -> str:
    assert message is not None
    subject = f"Subject: {message.subject}\n\n" if message.subject else ""
    return f"--- {notification.channel} to {message.to or 'staff'}\n{subject}{message.text.rstrip()}\n"


def words(markup: str) -> list[str]:
    body = markup[markup.index("<main") :].replace("<br>", "\n")
    return [line for line in html.unescape(re.sub(r"<[^>]+>", "", body)).split("\n") if line]


@pytest.mark.parametrize("fact_type", FACTS, ids=lambda fact_type: fact_type.type)
def test_the_messages_of_a_fact_are_these(fact_type: type[Fact], example: ExampleOf) -> None:
    """To change a message, delete its snapshot, run the test twice, and look at the difference."""
    snapshot = SNAPSHOTS / f"{fact_type.type}.txt"
    said = "".join(shown(*pair) for pair in composed(example(fact_type.type)))
    if not snapshot.exists():
        snapshot.write_text(said)
        pytest.fail(f"{snapshot.name} was not there: it is written now, read it")
    assert said == snapshot.read_text()


def test_no_snapshot_outlives_its_message() -> None:
    assert {path.stem for path in SNAPSHOTS.iterdir()} == {fact.type for fact in OCCASIONS}


@pytest.mark.parametrize("fact_type", FACTS, ids=lambda fact_type: fact_type.type)
def test_an_email_says_the_same_in_html_and_in_text(fact_type: type[Fact], example: ExampleOf) -> None:
    for notification, message in composed(example(fact_type.type)):
        assert message is not None
        if notification.channel is Channel.EMAIL:
            in_text = [line for line in re.sub(r": https?://\S+", "", message.text).split("\n") if line]
            assert words(message.html) == in_text
        else:
            assert (message.html, message.subject) == ("", "")


def test_customers_hear_of_order_events_only_and_staff_of_the_topics_we_hear() -> None:
    heard = {
        fact: topic.name for topic in TOPICS if "notifications" in topic.consumers for fact in topic.facts
    }
    for fact, occasion in OCCASIONS.items():
        to_customers = {template.channel for template in occasion.templates} - {Channel.SLACK}
        assert heard[fact] == "order-events" if to_customers else heard[fact]


def test_the_table_names_fields_that_its_facts_have() -> None:
    for fact, occasion in OCCASIONS.items():
        named = {occasion.at, *({occasion.per} if occasion.per else ())}
        named |= {template.link[1] for template in occasion.templates if template.link}
        assert named <= fact.model_fields.keys()


def test_every_message_expires_before_its_job_is_given_up() -> None:
    ages = [template.maximum_age for occasion in OCCASIONS.values() for template in occasion.templates]
    assert timedelta(0) < min(ages)
    assert max(ages) < GIVE_UP_AFTER


def test_only_an_sms_may_be_lost_rather_than_repeated() -> None:
    for occasion in OCCASIONS.values():
        for template in occasion.templates:
            at_most_once = template.guarantee is Guarantee.AT_MOST_ONCE
            assert at_most_once == (template.channel is Channel.SMS)


def test_an_sms_fits_into_one_with_the_longest_shop_name(example: ExampleOf) -> None:
    for fact_type in ("order.shipped", "order.delivered"):
        assert len(SHOP + message_of(Channel.SMS, example(fact_type)).text) <= ONE_SMS


def test_a_tracking_address_too_long_for_an_sms_is_left_out_and_the_number_kept(example: ExampleOf) -> None:
    shipped: Any = example("order.shipped", tracking_url=f"https://track.test/{'x' * 100}")
    text = message_of(Channel.SMS, shipped).text
    assert len(SHOP + text) <= ONE_SMS
    assert "https://" not in text
    assert shipped.tracking_number in text
    assert shipped.tracking_url in message_of(Channel.EMAIL, shipped).text


@pytest.mark.parametrize("url", [None, "javascript:alert(1)", "//evil.test"])
def test_only_a_web_address_becomes_a_link(url: str | None, example: ExampleOf) -> None:
    message = message_of(Channel.EMAIL, example("order.shipped", tracking_url=url))
    assert "<a " not in message.html
    assert "Follow" not in message.text


def test_what_a_fact_carries_is_escaped_in_html_and_in_slack(example: ExampleOf) -> None:
    evil = "<!channel> & <b>x</b>"
    cancelled = message_of(Channel.SLACK, example("order.cancelled", reason=evil))
    assert "&lt;!channel&gt; &amp; &lt;b&gt;" in cancelled.text
    shipped = message_of(Channel.EMAIL, example("order.shipped", carrier=evil))
    assert "<b>x" not in shipped.html
    assert "&lt;b&gt;x" in shipped.html
    assert evil in shipped.text


def test_no_message_repeats_an_address(example: ExampleOf) -> None:
    """Whoever typed it could have anything mailed to others."""
    changed: Any = example("order.address_changed")
    typed = set(changed.shipping_address.model_dump(exclude={"name", "state", "country"}).values()) - {None}
    assert len(typed) >= 4
    for message in (message_of(Channel.EMAIL, changed), message_of(Channel.SLACK, example("order.placed"))):
        assert [text for text in typed if text in message.text + message.html + message.subject] == []


def test_pieces_taken_off_are_counted_over_the_lines(example: ExampleOf) -> None:
    lines = [{"line": 1, "quantity": 2}, {"line": 3, "quantity": 1}]
    message = message_of(Channel.EMAIL, example("order.items_cancelled", lines=lines))
    assert "We took 3 items off your order" in message.text


def test_a_hold_without_a_deadline_names_none(example: ExampleOf) -> None:
    assert "ends by itself" not in message_of(Channel.SLACK, example("order.held", deadline=None)).text


@pytest.mark.parametrize("name", ["Ann", " Ann\n Lee ", "Dr. Ann O'Hara-Lee", "安娜"])
def test_a_customer_is_greeted_by_name(name: str) -> None:
    assert greeting(name) == f"Hello {' '.join(name.split())},"


@pytest.mark.parametrize("name", ["", " ", "win at evil.test", "http://evil", "a@b", "x" * 61])
def test_a_name_that_is_an_advertisement_is_not_repeated(name: str) -> None:
    assert greeting(name) == "Hello,"


@pytest.mark.parametrize(
    ("minor", "currency", "shown_as"),
    [(1999, "USD", "19.99 USD"), (5, "EUR", "0.05 EUR"), (500, "JPY", "500 JPY"), (1500, "KWD", "1.500 KWD")],
)
def test_money_is_shown_exactly(minor: int, currency: str, shown_as: str) -> None:
    assert money(minor, currency) == shown_as


def test_a_fact_of_last_month_is_noted_and_not_sent(example: ExampleOf) -> None:
    for notification, message in composed(example("order.shipped"), later=timedelta(days=30)):
        assert message is None
        assert notification.status is Status.SKIPPED
        assert notification.failure_reason is not None
        assert notification.failure_reason.startswith("older than ")


@pytest.mark.parametrize(
    ("email", "phone", "reasons"),
    [
        (None, None, {"EMAIL": "no usable email address is known", "SMS": "no phone number is known"}),
        (
            "two words@x.test",
            "",
            {"EMAIL": "no usable email address is known", "SMS": "no phone number is known"},
        ),
        ("a@x.test\r\nBcc: b@x.test", "+1", {"EMAIL": "no usable email address is known"}),
    ],
)
def test_without_an_address_a_message_is_skipped_and_says_so(
    email: str | None, phone: str | None, reasons: dict[str, str], example: ExampleOf
) -> None:
    contact = Contact(UUID(int=1), "ORD-1", uuid4(), None, "USD", "Ann", email, phone)
    pairs = composed(example("order.delivered"), contact)
    assert {one.channel: one.failure_reason for one, message in pairs if message is None} == reasons


def test_a_phone_number_is_freed_of_its_punctuation(example: ExampleOf) -> None:
    assert message_of(Channel.SMS, example("order.delivered")).to == "+14155550101"


def test_staff_hear_of_an_order_that_we_do_not_know_yet(example: ExampleOf) -> None:
    failed = example("shipment.failed")
    assert failed.key in message_of(Channel.SLACK, failed, None).text


def test_messages_that_may_repeat_are_told_apart(example: ExampleOf) -> None:
    for fact_type, field in (("order.refunded", "refund_id"), ("shipment.failed", "shipment_id")):
        one, other = (composed(example(fact_type, **{field: str(uuid4())}))[0][0] for _ in range(2))
        assert one.identity != other.identity
    first = example("order.payment_failed", failed_at="2026-11-22T09:30:00Z")
    assert composed(first)[0][0].business_key == "2026-11-22"
    assert composed(example("order.paid"))[0][0].business_key == ""


def test_an_order_that_nobody_paid_in_time_says_so(example: ExampleOf) -> None:
    assert "not paid in time" in message_of(Channel.EMAIL, example("order.cancelled", reason="expired")).text


def test_a_payment_that_cannot_be_taken_at_all_asks_nobody_to_try_again(example: ExampleOf) -> None:
    final = message_of(Channel.EMAIL, example("order.payment_failed", final=True))
    assert final.subject == "We cannot take a payment for your order ORD-20261122-00001"
    assert "nothing was charged" in final.text
    assert "answer this email" in final.text
    assert not re.search("try again|another card|declined", final.text)
    assert "try again" in message_of(Channel.EMAIL, example("order.payment_failed", final=False)).text


def test_a_refund_that_failed_long_ago_is_no_news_for_staff(example: ExampleOf) -> None:
    now = datetime.now(UTC)

    def alert(failed_at: datetime | None) -> tuple[Notification, Message | None]:
        said = failed_at and failed_at.isoformat()
        fact = example("payment.refund_failed", failed_at=said)
        [pair] = compose(fact, CONTACT, now, uuid4)
        return pair

    old, no_message = alert(now - timedelta(hours=24))
    assert (old.status, no_message) == (Status.SKIPPED, None)
    failed_at = now - timedelta(hours=23)
    recent, message = alert(failed_at)
    assert message is not None
    assert (recent.status, message.expires_at) == (Status.REQUESTED, failed_at + timedelta(hours=24))
    assert alert(None)[0].status is Status.REQUESTED


def test_a_partial_refund_says_how_much_went_back_in_all(example: ExampleOf) -> None:
    text = message_of(Channel.EMAIL, example("order.refunded", amount=500, refunded_total=1500)).text
    assert "sent 5.00 USD back" in text
    assert "In all, 15.00 USD went back." in text
