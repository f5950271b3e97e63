"""Control calls: reading the record, playing the parts of shopper, bank and carrier, setting faults. No provider has these."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, SecretStr, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.endpoint import Answer
from sandbox.injection import Injection, InvalidRule
from sandbox.jobs import Jobs
from sandbox.record import PAGE, Record
from sandbox.shippo.api import Shippo
from sandbox.stripe.api import Stripe
from sandbox.webhooks import Webhooks

MAX_COPIES = 10


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PageQuery(Body):
    """`since`: the last seq seen."""

    since: int = Field(0, ge=0)
    kind: str | None = None
    order_id: str | None = None
    limit: int = Field(100, ge=1, le=PAGE)


class Confirmation(Body):
    payment_method: str


class Completion(Body):
    outcome: Literal["succeed", "fail"]


class Scan(Body):
    """What a carrier saw of the parcel with a bought label (`transaction`) or with a `tracking_number`."""

    status: Literal["PRE_TRANSIT", "TRANSIT", "DELIVERED", "RETURNED", "FAILURE"]
    transaction: str | None = None
    tracking_number: str | None = None


class NewFault(Body):
    """See `injection.Rule` for the fields, `injection.Kind` for what `kinds` may be."""

    target: str
    kinds: list[str] = Field(min_length=1)
    times: int | None = Field(None, ge=1)
    probability: float = Field(1.0, gt=0, le=1)
    seed: int = 0
    seconds: float | None = Field(None, gt=0, le=3_600)


class InjectedQuery(Body):
    """`since`: the last seq seen."""

    since: int = Field(0, ge=0)
    limit: int = Field(100, ge=1, le=PAGE)


class Redelivery(Body):
    """Without an order: the webhooks of all."""

    order_id: str | None = None


class Copies(Body):
    n: int = Field(ge=1, le=MAX_COPIES)


class ReceiverChange(Body):
    """An empty url stops the provider's webhooks. Not kept across a restart: the environment decides then."""

    provider: Literal["stripe", "shippo"]
    url: Annotated[str, AfterValidator(lambda url: str(HttpUrl(url)) if url else url)]
    secret: SecretStr | None = None


B = TypeVar("B", bound=Body)


class Control:
    """`routes` are served under /control."""

    def __init__(
        self,
        *,
        record: Record,
        jobs: Jobs,
        webhooks: Webhooks,
        stripe: Stripe,
        shippo: Shippo,
        faults: Injection,
    ) -> None:
        self._record = record
        self._jobs = jobs
        self._webhooks = webhooks
        self._stripe = stripe
        self._shippo = shippo
        self._faults = faults
        self.routes: list[BaseRoute] = [
            _route("GET", "/effects", PageQuery, self._effects),
            _route("GET", "/requests", PageQuery, self._requests),
            _route("GET", "/summary", Body, self._summary),
            _route("GET", "/pending", Body, self._pending),
            _route("POST", "/stripe/payment_intents/{id}/confirm", Confirmation, self._confirm),
            _route("POST", "/stripe/payment_intents/{id}/complete", Completion, self._complete),
            _route("POST", "/shippo/track", Scan, self._track),
            _route("POST", "/webhooks/redeliver", Redelivery, self._redeliver),
            _route("POST", "/webhooks/copies", Copies, self._copies),
            _route("POST", "/webhooks/receivers", ReceiverChange, self._receiver),
            _route("GET", "/faults", Body, self._rules),
            _route("POST", "/faults", NewFault, self._set_fault),
            _route("DELETE", "/faults", Body, self._clear_faults),
            _route("DELETE", "/faults/{rule:int}", Body, self._clear_faults),
            _route("GET", "/faults/injected", InjectedQuery, self._injected),
        ]

    async def _effects(self, query: PageQuery, _: Request) -> Answer:
        found = self._record.effects(
            since=query.since, kind=query.kind, order_id=query.order_id, limit=query.limit
        )
        return Answer.json({"effects": found, "next": found[-1].seq if found else query.since})

    async def _requests(self, query: PageQuery, _: Request) -> Answer:
        found = self._record.requests(since=query.since, limit=query.limit)
        return Answer.json({"requests": found, "next": found[-1].seq if found else query.since})

    async def _summary(self, _: Body, __: Request) -> Answer:
        return Answer.json({"counts": self._record.counts(), "amounts": self._record.amounts()})

    async def _pending(self, _: Body, __: Request) -> Answer:
        kinds = self._jobs.pending()
        return Answer.json({"pending": sum(kinds.values()), **kinds})

    async def _confirm(self, body: Confirmation, request: Request) -> Answer:
        return await self._stripe.confirm(request.path_params["id"], body.payment_method)

    async def _complete(self, body: Completion, request: Request) -> Answer:
        return await self._stripe.complete(request.path_params["id"], body.outcome)

    async def _track(self, body: Scan, _: Request) -> Answer:
        return await self._shippo.track(body.model_dump(exclude_none=True))

    async def _rules(self, _: Body, __: Request) -> Answer:
        return Answer.json({"faults": self._faults.rules(), "targets": sorted(self._faults.targets)})

    async def _set_fault(self, body: NewFault, _: Request) -> Answer:
        try:
            return Answer.json({"id": self._faults.add(**body.model_dump())}, 201)
        except InvalidRule as invalid:
            problem = {"code": invalid.code, "message": str(invalid), "known": invalid.known}
            return Answer.json({"error": problem}, 400)

    async def _clear_faults(self, _: Body, request: Request) -> Answer:
        rule = request.path_params.get("rule")
        cleared = self._faults.clear(rule)
        if rule is not None and not cleared:
            return Answer.json({"error": {"code": "unknown_fault", "message": f"no fault {rule}"}}, 404)
        return Answer.json({"cleared": cleared})

    async def _injected(self, query: InjectedQuery, _: Request) -> Answer:
        found = self._faults.injected(since=query.since, limit=query.limit)
        return Answer.json({"injected": found, "next": found[-1]["seq"] if found else query.since})

    async def _redeliver(self, body: Redelivery, _: Request) -> Answer:
        return Answer.json({"deliveries": self._webhooks.redeliver(body.order_id)})

    async def _copies(self, body: Copies, _: Request) -> Answer:
        self._webhooks.copies = body.n
        return Answer.json({"copies": body.n})

    async def _receiver(self, body: ReceiverChange, _: Request) -> Answer:
        now = self._webhooks.receivers[body.provider]
        secret = body.secret or now.secret
        if body.url and not secret.get_secret_value():
            return Answer.json({"error": "a receiver needs a secret"}, 400)
        self._webhooks.receivers[body.provider] = replace(now, url=body.url, secret=secret)
        return Answer.json({"provider": body.provider, "url": body.url})


def _route(method: str, path: str, kind: type[B], handle: Callable[[B, Request], Awaitable[Answer]]) -> Route:
    """A route whose query (GET, DELETE) or JSON body (POST) is a `kind`; anything else is answered 400."""

    async def endpoint(request: Request) -> Response:
        try:
            if method != "POST":
                given = kind.model_validate(dict(request.query_params))
            else:
                given = kind.model_validate_json(await request.body() or b"{}")
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            return _sent(Answer.json({"error": problems}, 400))
        return _sent(await handle(given, request))

    return Route(path, endpoint, methods=[method])


def _sent(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, answer.media_type)
