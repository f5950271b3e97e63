"""The books of one Shippo account: its objects, the webhooks it sends and the effects it records."""

from decimal import Decimal

import orjson

from sandbox.endpoint import Answer, Refusal
from sandbox.record import Record
from sandbox.shippo.objects import Json
from sandbox.state import State
from sandbox.webhooks import Webhooks


class NotFound(Refusal):
    def __init__(self) -> None:
        super().__init__(Answer.json({"detail": "Not found"}, 404))


class Invalid(Refusal):
    """A field is missing or wrong: Shippo answers a list of sentences by field."""

    def __init__(self, field: str, message: str = "This field is required.") -> None:
        super().__init__(Answer.json({field: [message]}, 400))


class Account:
    def __init__(self, state: State, record: Record, webhooks: Webhooks) -> None:
        self.state = state
        self._record = record
        self._webhooks = webhooks

    def load(self, kind: str, resource_id: str) -> Json:
        """Raises NotFound."""
        subject = self.state.get(f"shippo.{kind}", resource_id)
        if subject is None:
            raise NotFound
        return subject

    def page(self, kind: str, params: Json, *, link: tuple[str, str] | None = None) -> Answer:
        """Shippo's numbered pages, newest first; the links between them are left out."""
        try:
            number, size = int(params.get("page", 1)), int(params.get("results", 25))
        except ValueError:
            raise Invalid("page", "A valid integer is required.") from None
        if number < 1 or not 1 <= size <= 100:  # noqa: PLR2004 - Shippo's page size
            raise NotFound
        found = self.state.find(f"shippo.{kind}", link=link, limit=number * size)
        return Answer.json({"next": None, "previous": None, "results": found[(number - 1) * size :]})

    def effect(
        self, kind: str, resource: str, payload: Json, *, order_id: str | None, price: Json | None = None
    ) -> None:
        """`price`: the rate that was paid or given back."""
        self._record.effect(
            f"shippo.{kind}",
            resource,
            payload,
            order_id=order_id,
            amount=int(Decimal(price["amount"]) * 100) if price else None,
            currency=price["currency"] if price else None,
        )

    def emit(self, event: str, data: Json, *, order_id: str | None) -> None:
        self._webhooks.send(
            "shippo", event, orjson.dumps({"event": event, "test": True, "data": data}), order_id=order_id
        )
