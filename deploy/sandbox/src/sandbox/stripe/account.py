"""The books of one Stripe account: its objects, the events it sends and the effects it records."""

from typing import Any

import orjson

from sandbox.jobs import Jobs
from sandbox.record import Record
from sandbox.settings import Settings
from sandbox.state import State
from sandbox.stripe import objects
from sandbox.stripe.errors import Missing
from sandbox.stripe.objects import Json
from sandbox.webhooks import Webhooks

# What a reader may follow from one object to another, by the prefix of the id.
KINDS = {"pi": "payment_intent", "ch": "charge", "re": "refund", "txn": "balance_transaction"}


class Account:
    def __init__(
        self, settings: Settings, state: State, record: Record, jobs: Jobs, webhooks: Webhooks
    ) -> None:
        self.settings = settings
        self.state = state
        self.jobs = jobs
        self._record = record
        self._webhooks = webhooks

    def add(self, subject: Json, **links: str) -> None:
        """Store a new object, to be found by its metadata and by `links`."""
        metadata = {f"metadata.{name}": value for name, value in subject.get("metadata", {}).items()}
        self.state.insert(
            f"stripe.{subject['object']}",
            subject["id"],
            subject,
            created=subject["created"],
            links=metadata | links,
        )

    def save(self, subject: Json) -> None:
        self.state.save(f"stripe.{subject['object']}", subject["id"], subject)

    def load(self, kind: str, resource_id: str, param: str = "id") -> Json:
        """Raises Missing; `param` names the request's field that held the id."""
        subject = self.state.get(f"stripe.{kind}", resource_id)
        if subject is None:
            raise Missing(kind, resource_id, param)
        return _as_of_now(subject)

    def find(self, kind: str, **wanted: Any) -> list[Json]:
        """As `State.find` does."""
        return [_as_of_now(subject) for subject in self.state.find(f"stripe.{kind}", **wanted)]

    def emit(self, kind: str, subject: Json, key: str | None = None, *, previous: Json | None = None) -> None:
        """Send an event about `subject`; `key` is the idempotency key of the request that caused it."""
        event = objects.event(kind, subject, previous=previous, idempotency_key=key)
        self._webhooks.send("stripe", kind, orjson.dumps(event), order_id=self.order_of(subject))

    def effect(self, verb: str, subject: Json, key: str | None = None, *, amount: int | None = None) -> None:
        """Record that `subject` underwent `verb`; `amount` defaults to its own, in minor units."""
        self._record.effect(
            f"stripe.{subject['object']}.{verb}",
            subject["id"],
            subject,
            order_id=self.order_of(subject),
            amount=subject["amount"] if amount is None else amount,
            currency=subject["currency"],
            recipient=subject.get("receipt_email"),
            idempotency_key=key,
        )

    def order_of(self, subject: Json) -> str | None:
        """The order that the object's metadata names, or that of the charge it belongs to."""
        order_id: Any = subject.get("metadata", {}).get("order_id")
        origin = subject.get("charge") or subject.get("source")
        if order_id is None and origin is not None:
            found = self.state.get(f"stripe.{KINDS[origin.partition('_')[0]]}", origin)
            return self.order_of(found) if found else None
        return order_id if isinstance(order_id, str) else None

    def expand(self, subject: Json, paths: list[str]) -> Json:
        """Replace ids by the objects they name, along dotted `paths`, as Stripe's `expand` does; others stay as they are."""
        for path in paths:
            nodes = [subject]
            for name in path.split("."):
                nodes = [found for node in nodes for found in self._follow(node, name)]
        return subject

    def _follow(self, node: Json, name: str) -> list[Json]:
        value = node.get(name)
        if isinstance(value, str) and (kind := KINDS.get(value.partition("_")[0])):
            value = node[name] = self.load(kind, value)
        if isinstance(value, list):
            return [found for found in value if isinstance(found, dict)]
        return [value] if isinstance(value, dict) else []


def _as_of_now(subject: Json) -> Json:
    """Time alone makes the money of a balance transaction available: nothing is sent of it."""
    if subject["object"] == "balance_transaction" and subject["available_on"] <= objects.now():
        subject["status"] = "available"
    return subject
