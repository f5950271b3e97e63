"""Shippo's URLs, and who may call them."""

from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.routing import BaseRoute

from sandbox.endpoint import Answer, Call, Endpoints, Refusal
from sandbox.injection import Injection
from sandbox.record import Record
from sandbox.shippo.account import Account
from sandbox.shippo.labels import Labels
from sandbox.shippo.shipments import Shipments
from sandbox.shippo.tracks import Tracks

LABELS = "/shippo/labels/"


class Shippo:
    """`routes` are served under /shippo; `track` is the carrier's part, played by a control call."""

    def __init__(self, account: Account, record: Record, faults: Injection) -> None:
        self._endpoints = Endpoints(
            "shippo", state=account.state, record=record, faults=faults, admit=admit, failure=failure
        )
        self._labels = Labels(account)
        self._tracks = Tracks(account, self._labels)
        self.routes = self._routes(Shipments(account))

    async def track(self, params: dict[str, Any]) -> Answer:
        """`params`: status, and transaction or tracking_number."""
        return await self._endpoints.perform(
            "tracks.advance", self._tracks.advance, Call(path="", params=params)
        )

    def _routes(self, shipments: Shipments) -> list[BaseRoute]:
        labels, tracks = self._labels, self._tracks
        table: list[tuple[str, str, str, Callable[[Call], Answer]]] = [
            ("POST", "/shipments", "shipments.create", shipments.create),
            ("GET", "/shipments", "shipments.list", shipments.page),
            ("GET", "/shipments/{id}", "shipments.retrieve", shipments.retrieve),
            ("GET", "/shipments/{id}/rates", "shipments.rates", shipments.rates),
            ("GET", "/rates/{id}", "rates.retrieve", shipments.retrieve_rate),
            ("POST", "/transactions", "transactions.create", labels.buy),
            ("GET", "/transactions", "transactions.list", labels.page),
            ("GET", "/transactions/{id}", "transactions.retrieve", labels.retrieve),
            ("GET", "/labels/{id}.pdf", "labels.print", labels.print),
            ("POST", "/refunds", "refunds.create", labels.refund),
            ("GET", "/refunds", "refunds.list", labels.page_refunds),
            ("GET", "/refunds/{id}", "refunds.retrieve", labels.retrieve_refund),
            ("POST", "/tracks", "tracks.create", tracks.register),
            ("GET", "/tracks/{carrier}/{number}", "tracks.retrieve", tracks.retrieve),
        ]
        return [self._endpoints.route(*row) for row in table]


def failure(status: int, message: str) -> Answer:
    return Answer.json({"detail": message}, status)


def admit(request: Request, body: bytes) -> Call:
    """Raises Refusal: 401 without a token (printing a label needs none), 400 for a body that is no JSON object."""
    path = request.scope["path"]
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not path.startswith(LABELS) and (scheme not in ("ShippoToken", "Bearer") or not token.strip()):
        raise Refusal(Answer.json({"detail": "Invalid token"}, 401))
    params: Any = dict(request.query_params)
    if body:
        try:
            params = orjson.loads(body)
        except orjson.JSONDecodeError as problem:
            raise Refusal(Answer.json({"detail": f"JSON parse error - {problem}"}, 400)) from None
        if not isinstance(params, dict):
            raise Refusal(Answer.json({"non_field_errors": ["Invalid data. Expected a dictionary."]}, 400))
    origin = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
    return Call(path=path, parts=request.path_params, params=params, credential=token, origin=origin)
