"""Faults by control call, as the official SDKs meet them: what the caller sees, what happened, and what the record says."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import sqlite3
from collections import Counter
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import requests
import shippo
import stripe
import twilio.rest
from pyreqwest.exceptions import PyreqwestError
from shippo.models.errors import SDKError

from sandbox.faults import Faults
from sandbox.injection import CALL_KINDS, Injection, InvalidRule, Kind, Rule
from sandbox.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from pyreqwest.client import Client

    import sandbox

    Control = Callable[..., Awaitable[Any]]

CREATE, REFUND = "stripe.payment_intents.create", "stripe.refunds.create"


@pytest.fixture
async def control(box: sandbox.Box, http: Client) -> AsyncIterator[Control]:
    """Control calls about faults; none is left after the test."""

    async def call(method: str = "POST", path: str = "", *, status: int | None = None, **body: Any) -> Any:
        request = http.request(method, f"{box.url}/control/faults{path}")
        answer = await (request.body_json(body) if body else request).build().send()
        assert answer.status == (status or {"POST": 201}.get(method, 200)), await answer.text()
        return await answer.json()

    yield call
    await call("DELETE")


def params(order_id: str) -> Any:
    return {"amount": 2_000, "currency": "usd", "metadata": {"order_id": order_id}}


async def create(shop: stripe.StripeClient, order_id: str, key: str | None = None) -> stripe.PaymentIntent:
    return await shop.v1.payment_intents.create_async(
        params(order_id), {"idempotency_key": key} if key else {}
    )


def made(box: sandbox.Box, order_id: str) -> int:
    return len(box.record.effects(order_id=order_id, kind="stripe.payment_intent.created"))


async def test_a_reset_connection_had_no_effect_and_only_the_next_calls_meet_it(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    await control(target=CREATE, kinds=["reset"], times=2)
    for _ in range(2):
        with pytest.raises(stripe.APIConnectionError):
            await create(shop, order_id, order_id)
    assert made(box, order_id) == 0
    assert (await create(shop, order_id, order_id)).amount == 2_000
    assert made(box, order_id) == 1


async def test_a_lost_answer_had_its_effect_and_its_key_finds_it(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    await control(target=CREATE, kinds=["lost_answer"], times=1)
    with pytest.raises(stripe.APIConnectionError):
        await create(shop, order_id, order_id)
    [effect] = box.record.effects(order_id=order_id)
    assert (await create(shop, order_id, order_id)).id == effect.resource
    assert made(box, order_id) == 1


async def test_too_many_requests_say_when_to_come_back(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    await control(target=CREATE, kinds=["rate_limited"], times=1, seconds=1.5)
    with pytest.raises(stripe.RateLimitError) as limited:
        await create(shop, order_id, order_id)
    assert limited.value.headers is not None
    assert (limited.value.http_status, limited.value.headers["Retry-After"]) == (429, "2")
    assert made(box, order_id) == 0
    await create(shop, order_id, order_id)


async def test_an_unavailable_stripe_remembers_nothing(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    await control(target=CREATE, kinds=["unavailable"], times=1)
    with pytest.raises(stripe.APIError) as away:
        await create(shop, order_id, order_id)
    assert away.value.http_status == 503
    await create(shop, order_id, order_id)
    assert made(box, order_id) == 1


@pytest.mark.parametrize(("kind", "happened"), [("error", 0), ("error_after_effect", 1)])
async def test_a_500_is_saved_under_its_key_and_replayed(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control, kind: str, happened: int
) -> None:
    await control(target=CREATE, kinds=[kind], times=2)
    replayed = []
    for _ in range(3):
        with pytest.raises(stripe.APIError) as failed:
            await create(shop, order_id, order_id)
        assert failed.value.http_status == 500
        replayed.append((failed.value.headers or {}).get("Idempotent-Replayed"))
    assert replayed == [None, "true", "true"]
    assert made(box, order_id) == happened
    # A replay meets no fault of its own: the second one of the two is still to come.
    with pytest.raises(stripe.APIError):
        await create(shop, order_id, f"{order_id}-2")
    await create(shop, order_id, f"{order_id}-3")
    assert made(box, order_id) == 2 * happened + 1


async def test_a_slow_effect_happens_though_the_caller_gave_up_and_its_key_is_taken_meanwhile(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    await control(target=CREATE, kinds=["slow"], times=1, seconds=0.5)
    impatient = asyncio.create_task(create(shop, order_id, order_id))
    await injected(control, CREATE)
    impatient.cancel()
    with pytest.raises(stripe.StripeError) as conflict:
        await create(shop, order_id, order_id)
    assert conflict.value.http_status == 409
    async with asyncio.timeout(10):
        while not made(box, order_id):
            await asyncio.sleep(0.02)
    await create(shop, order_id, order_id)
    assert made(box, order_id) == 1


async def test_a_hanging_call_has_no_effect_and_ends_when_the_caller_gives_up(
    box: sandbox.Box,
    shop: stripe.StripeClient,
    order_id: str,
    control: Control,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await control(target=CREATE, kinds=["hang"], times=1)
    impatient = asyncio.create_task(create(shop, order_id, order_id))
    await injected(control, CREATE)
    assert not impatient.done()
    impatient.cancel()
    async with asyncio.timeout(10):
        while box.record.requests(since=0, limit=2**31)[-1].status != 0:
            await asyncio.sleep(0.02)
    assert made(box, order_id) == 0
    await create(shop, order_id, order_id)
    assert caplog.messages == []


async def injected(control: Control, target: str) -> None:
    """Until the one rule has met a call of `target`."""
    async with asyncio.timeout(10):
        while target not in (await control("GET"))["faults"][0]["injected"]:
            await asyncio.sleep(0.01)


def test_a_seed_decides_alike_per_endpoint_whatever_happens_elsewhere() -> None:
    def decisions(others: int) -> list[Kind | None]:
        with closing(State()) as state:
            faults = Injection(state, Faults())
            for name in (CREATE, REFUND):
                faults.register(name)
            faults.add("stripe.*", ["reset", "lost_answer"], probability=0.2, seed=7)
            decided: list[Kind | None] = []
            for _ in range(400):
                for _ in range(others):
                    faults.choose(REFUND)
                fault = faults.choose(CREATE)
                decided.append(fault.kind if fault else None)
            return decided

    alone = decisions(0)
    assert decisions(3) == alone
    counts = Counter(alone)
    assert set(counts) == {None, Kind.RESET, Kind.LOST_ANSWER}
    assert 0.15 < 1 - counts[None] / 400 < 0.25
    rule = partial(Rule, target="*", kinds=(Kind.RESET,), probability=0.2)
    other_seed = [rule(seed=8).draw(CREATE, nth) for nth in range(400)]
    other_endpoint = [rule(seed=7).draw(REFUND, nth) for nth in range(400)]
    assert [rule(seed=7).draw(CREATE, nth) for nth in range(400)] not in (other_seed, other_endpoint)


def test_rules_and_record_outlive_a_restart_and_the_record_is_final(tmp_path: Path) -> None:
    path = str(tmp_path / "state.sqlite")
    with closing(State(path)) as state:
        faults = Injection(state, Faults())
        faults.register(CREATE)
        faults.add(CREATE, ["reset"], times=2)
        fault = faults.choose(CREATE)
        assert fault is not None
        faults.note(fault, "/v1/payment_intents", "k")
    with closing(State(path)) as state:
        faults = Injection(state, Faults())
        [rule] = faults.rules()
        assert (rule["remaining"], rule["calls"], rule["injected"]) == (
            1,
            {CREATE: 1},
            {CREATE: {"reset": 1}},
        )
        assert faults.clear() == 1
        [injected] = faults.injected()
        assert (injected["target"], injected["nth"], injected["idempotency_key"]) == (CREATE, 1, "k")
        for statement in ("UPDATE injected_faults SET nth = 0", "DELETE FROM injected_faults"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                state.db.execute(statement)


def test_state_of_the_version_before_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "state.sqlite")
    with closing(State(path)) as state:
        state.set_meta("name", "value")
        for table in ("fault_rules", "fault_calls", "injected_faults"):
            state.db.execute(f"DROP TABLE {table}")
        state.db.execute("PRAGMA user_version = 1")
    with closing(State(path)) as state:
        assert state.meta("name") == "value"
        assert Injection(state, Faults()).rules() == []


async def test_rules_are_listed_with_their_counts_and_cleared_alone_or_together(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    first = await control(target="stripe.payment_intents.*", kinds=["unavailable"], times=1)
    second = await control(target="shippo.*", kinds=["slow"], probability=0.2, seed=3, seconds=0.5)
    start = box.faults.injected(limit=2**31)[-1]["seq"] if box.faults.injected() else 0
    for _ in range(2):
        with contextlib.suppress(stripe.APIError):
            await create(shop, order_id)
    listed = await control("GET")
    rules = {rule["id"]: rule for rule in listed["faults"]}
    assert rules[first["id"]] == {
        "id": first["id"],
        "target": "stripe.payment_intents.*",
        "kinds": ["unavailable"],
        "times": 1,
        "remaining": 0,
        "probability": 1.0,
        "seed": 0,
        "seconds": None,
        "calls": {CREATE: 2},
        "injected": {CREATE: {"unavailable": 1}},
    }
    assert {CREATE, "smtp.message", "webhooks.shippo.track_updated"} < set(listed["targets"])
    page = await control("GET", f"/injected?since={start}")
    [one] = page["injected"]
    assert (one["target"], one["kind"], one["about"]) == (CREATE, "unavailable", "/v1/payment_intents")
    assert page["next"] == one["seq"]
    assert await control("DELETE", f"/{first['id']}") == {"cleared": 1}
    assert [rule["id"] for rule in (await control("GET"))["faults"]] == [second["id"]]
    assert (await control("DELETE", f"/{first['id']}", status=404))["error"]["code"] == "unknown_fault"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"target": "stripe.payouts.create", "kinds": ["reset"]}, "unknown_target"),
        ({"target": "paypal.*", "kinds": ["reset"]}, "unknown_target"),
        ({"target": "webhooks.stripe.customer.created", "kinds": ["lost"]}, "unknown_target"),
        ({"target": CREATE, "kinds": ["explode"]}, "unknown_kind"),
        ({"target": CREATE, "kinds": ["forged"]}, "kind_of_other_target"),
        ({"target": "*", "kinds": ["reset", "lost"]}, "kind_of_other_target"),
        ({"target": "webhooks.stripe.*", "kinds": ["reset"]}, "kind_of_other_target"),
    ],
)
async def test_a_rule_that_could_inject_nothing_is_a_typed_error(
    control: Control, body: dict[str, Any], code: str
) -> None:
    problem = (await control(status=400, **body))["error"]
    assert problem["code"] == code
    assert len(problem["known"]) >= 6
    assert (await control("GET"))["faults"] == []


async def test_values_out_of_range_are_refused(control: Control) -> None:
    wrong: dict[str, Any]
    for wrong in ({"times": 0}, {"probability": 1.1}, {"seconds": 0}, {"kinds": []}, {"tims": 1}):
        await control(status=400, **({"target": CREATE, "kinds": ["reset"]} | wrong))


class Impatient(requests.adapters.HTTPAdapter):
    """Shippo's SDK has no time-out of its own."""

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        return super().send(request, *args, **kwargs | {"timeout": 1.0})


async def test_shippos_sdk_meets_every_fault(box: sandbox.Box, control: Control) -> None:
    with requests.Session() as session:
        session.mount("http://", Impatient())
        sdk = shippo.Shippo(
            api_key_header="ShippoToken shippo_test_1", server_url=f"{box.url}/shippo", client=session
        )

        def tracked() -> Any:
            return sdk.tracking_status.create(carrier="usps", tracking_number="9205590164917312751089")

        met = {}
        for kind in CALL_KINDS:
            await control(target="shippo.tracks.create", kinds=[kind], times=1, seconds=0.1)
            try:
                await asyncio.to_thread(tracked)
                met[kind] = "answer"
            except SDKError as error:
                met[kind] = str(error.status_code)
            except OSError as error:
                met[kind] = type(error).__name__
    assert met == {
        "reset": "ConnectionError",
        "lost_answer": "ConnectionError",
        "unavailable": "503",
        "rate_limited": "429",
        "error": "500",
        "error_after_effect": "500",
        "slow": "answer",
        "hang": "ReadTimeout",
    }


async def test_twilios_sdk_meets_the_faults(box: sandbox.Box, control: Control) -> None:
    client = twilio.rest.Client("AC1", "token")
    client.http_client.session = requests.Session()
    send = partial(
        client.request,
        "POST",
        f"{box.url}/twilio/2010-04-01/Accounts/AC1/Messages.json",
        data={"To": "+14155550100", "From": "+14155550101", "Body": "faults"},
        timeout=0.5,
    )
    before = len(box.record.effects(kind="twilio.message.sent"))
    statuses = {}
    for kind in ("unavailable", "rate_limited", "error", "error_after_effect"):
        await control(target="twilio.messages.create", kinds=[kind], times=1)
        statuses[kind] = (await asyncio.to_thread(send)).status_code
    assert statuses == {"unavailable": 503, "rate_limited": 429, "error": 500, "error_after_effect": 500}
    for kind in ("reset", "lost_answer", "hang"):
        await control(target="twilio.messages.create", kinds=[kind], times=1)
        with pytest.raises(OSError, match=r"reset|timed out|aborted"):
            await asyncio.to_thread(send)
    client.http_client.session.close()
    assert len(box.record.effects(kind="twilio.message.sent")) == before + 2


async def test_slack_answers_faults_and_the_message_of_a_lost_answer_was_posted(
    box: sandbox.Box, http: Client, control: Control
) -> None:
    def post() -> Any:
        hook = f"{box.url}/slack/services/T000/B000/secret"
        return http.post(hook).body_json({"text": "x"}).build().send()

    before = len(box.record.effects(kind="slack.message"))
    await control(target="slack.*", kinds=["rate_limited"], times=1)
    answer = await post()
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    await control(target="slack.*", kinds=["lost_answer"], times=1)
    with pytest.raises(PyreqwestError):
        await post()
    assert len(box.record.effects(kind="slack.message")) == before + 1


@pytest.mark.parametrize(
    ("kind", "outcome", "kept"),
    [
        ("reset", "SMTPServerDisconnected", 0),
        ("unavailable", "421", 0),
        ("rate_limited", "450", 0),
        ("error", "451", 0),
        ("error_after_effect", "451", 1),
        ("lost_answer", "SMTPServerDisconnected", 1),
        ("slow", "sent", 1),
        ("hang", "SMTPServerDisconnected", 0),
    ],
)
async def test_mail_meets_every_fault(
    box: sandbox.Box, control: Control, kind: str, outcome: str, kept: int
) -> None:
    def sent() -> str:
        client = smtplib.SMTP("127.0.0.1", box.smtp_port, timeout=1)
        try:
            client.sendmail("shop@example.com", ["ann@example.com"], b"Subject: x\r\n\r\nx")
        except smtplib.SMTPDataError as refused:
            return str(refused.smtp_code)
        except smtplib.SMTPException as broken:
            return type(broken).__name__
        finally:
            client.close()
        return "sent"

    before = len(box.record.effects(kind="smtp.message"))
    await control(target="smtp.message", kinds=[kind], times=1, seconds=0.1)
    assert await asyncio.to_thread(sent) == outcome
    assert len(box.record.effects(kind="smtp.message")) == before + kept


async def test_what_the_shopper_and_the_carrier_do_by_control_call_meets_no_fault(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    intent = await create(shop, order_id)
    await control(target="*", kinds=["unavailable"])
    assert (await box.stripe.confirm(intent.id, "pm_card_visa")).status == 200
    with pytest.raises(stripe.APIError):
        await shop.v1.payment_intents.retrieve_async(intent.id)


@pytest.mark.parametrize(
    "endpoint",
    [
        *(f"stripe.payment_intents.{verb}" for verb in ("create", "confirm", "cancel", "retrieve", "list")),
        *(f"stripe.refunds.{verb}" for verb in ("create", "retrieve", "list")),
        *("stripe.charges.retrieve", "stripe.charges.list", "stripe.balance_transactions.retrieve"),
        "stripe.balance_transactions.list",
        *("shippo.shipments.create", "shippo.transactions.create", "shippo.transactions.list"),
        *("shippo.tracks.create", "shippo.tracks.retrieve", "shippo.refunds.create", "shippo.refunds.list"),
        *("twilio.messages.create", "twilio.messages.list", "slack.webhooks.post", "smtp.message"),
    ],
)
def test_faults_can_be_set_on(box: sandbox.Box, endpoint: str) -> None:
    assert endpoint in box.faults.targets
    with pytest.raises(InvalidRule):
        box.faults.add(f"{endpoint}x", ["reset"])
