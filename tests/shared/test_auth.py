"""Who is calling: tokens of the configured issuer and nobody else's."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import jwt
import pytest
import strawberry
from cryptography.hazmat.primitives.asymmetric import rsa
from pyreqwest.client import ClientBuilder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from strawberry.scalars import JSON

import sandbox
from sandbox.issuer import TokenRequest
from shared.auth import ANONYMOUS, Authenticator, Role
from shared.errors import Code, Refusal
from shared.graphql import GraphQLEndpoint
from shared.ids import customer_id_of
from shared.settings import Issuer
from shared.testing import free_socket, serving

STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
async def box() -> AsyncIterator[sandbox.Box]:
    async with sandbox.running(sandbox.Settings(port=0, smtp_port=0)) as running:
        yield running


@pytest.fixture
async def authenticator(box: sandbox.Box) -> AsyncIterator[Authenticator]:
    made = Authenticator((Issuer(issuer=box.issuer.url, jwks_url=f"{box.issuer.url}/jwks.json"),))
    yield made
    await made.close()


def token(box: sandbox.Box, **wanted: Any) -> str:
    return box.issuer.token(TokenRequest(**{"role": "shopper", "sub": "ann", **wanted}))


async def refused(authenticator: Authenticator, header: str) -> bool:
    return await refusal_of(authenticator, header) is Code.UNAUTHENTICATED


async def refusal_of(authenticator: Authenticator, header: str) -> Code | None:
    try:
        await authenticator.authenticate(header)
    except Refusal as refusal:
        return refusal.code
    return None


async def test_a_shopper_is_the_customer_of_its_issuer_and_subject(
    box: sandbox.Box, authenticator: Authenticator
) -> None:
    principal = await authenticator.authenticate(f"Bearer {token(box, email='ann@example.com')}")
    assert principal.role is Role.SHOPPER
    assert principal.customer_id == customer_id_of(box.issuer.url, "ann")
    assert principal.email == "ann@example.com"


async def test_staff_have_scopes_and_no_customer(box: sandbox.Box, authenticator: Authenticator) -> None:
    principal = await authenticator.authenticate(
        f"Bearer {token(box, role='staff', scope='support finance')}"
    )
    assert principal.is_staff
    assert principal.scopes == {"support", "finance"}
    assert principal.customer_id is None


async def test_no_header_is_nobody(authenticator: Authenticator) -> None:
    assert await authenticator.authenticate(None) is ANONYMOUS


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Basic Zm9v", "x" * 9000]
)
async def test_what_is_no_token_is_refused(authenticator: Authenticator, header: str) -> None:
    assert await refused(authenticator, header)


async def test_an_expired_token_is_refused_also_when_it_was_good_before(
    box: sandbox.Box, authenticator: Authenticator
) -> None:
    assert await refused(authenticator, f"Bearer {token(box, ttl_seconds=-60)}")


def forged(box: sandbox.Box, *, key: Any = STRANGER, algorithm: str = "RS256", **changes: Any) -> str:
    """A token that says all the right things, but for the changes, signed by somebody else."""
    good = jwt.decode(token(box), options={"verify_signature": False})
    kid = jwt.get_unverified_header(token(box))["kid"]
    claims = {name: value for name, value in {**good, **changes}.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": changes.pop("kid", kid)})


async def test_tokens_that_nobody_we_trust_signed_are_refused(
    box: sandbox.Box, authenticator: Authenticator
) -> None:
    attacks = {
        "another key": forged(box),
        "no signature": forged(box, key=None, algorithm="none"),
        "a shared secret": forged(box, key="x" * 64, algorithm="HS256"),
        "another issuer": forged(box, iss="https://evil.example"),
        "no issuer": forged(box, iss=None),
        "a truncated signature": token(box)[:-8],
        "another payload": ".".join(
            (token(box).split(".")[0], forged(box, role="staff").split(".")[1], token(box).split(".")[2])
        ),
    }
    assert [
        what for what, attack in attacks.items() if not await refused(authenticator, f"Bearer {attack}")
    ] == []


def signed(box: sandbox.Box, **changes: Any) -> str:
    """The issuer's own signature under claims that it would not make."""
    good = jwt.decode(token(box), options={"verify_signature": False})
    claims = {name: value for name, value in {**good, **changes}.items() if value is not None}
    return jwt.encode(
        claims,
        box.issuer._key,
        algorithm="RS256",
        headers={"kid": jwt.get_unverified_header(token(box))["kid"]},
    )


async def test_only_of_a_token_that_its_issuer_signed_is_it_said_that_it_is_too_old(
    box: sandbox.Box, authenticator: Authenticator
) -> None:
    past: dict[str, Any] = {"exp": int(time.time()) - 60}
    told = []
    for each in (signed(box, **past), forged(box, **past), forged(box)):
        with pytest.raises(Refusal) as refusal:
            await authenticator.authenticate(f"Bearer {each}")
        told.append(refusal.value.details.get("expired", False))
    assert told == [True, False, False]


async def test_the_issuers_own_tokens_are_refused_for_other_audiences_roles_and_times(
    box: sandbox.Box, authenticator: Authenticator
) -> None:
    claims: dict[str, dict[str, Any]] = {
        "another audience": {"aud": "somebody else"},
        "no audience": {"aud": None},
        "no subject": {"sub": None},
        "no expiry": {"exp": None},
        "no issue time": {"iat": None},
        "an unknown role": {"role": "emperor"},
        "not yet valid": {"nbf": int(time.time()) + 3600},
    }
    good = await authenticator.authenticate(f"Bearer {signed(box)}")
    assert good.subject == "ann"
    accepted = [
        what
        for what, wrong in claims.items()
        if not await refused(authenticator, f"Bearer {signed(box, **wrong)}")
    ]
    assert accepted == []


async def test_a_claim_of_another_shape_counts_as_missing(
    box: sandbox.Box, authenticator: Authenticator
) -> None:
    for scope in ({"a": 1}, 7, ""):
        principal = await authenticator.authenticate(
            f"Bearer {signed(box, scope=scope, email=7, name=['Ann'])}"
        )
        assert (principal.scopes, principal.email, principal.name) == (frozenset(), None, None)


async def test_a_verified_token_is_verified_once(box: sandbox.Box, authenticator: Authenticator) -> None:
    header = f"Bearer {token(box)}"
    first = await authenticator.authenticate(header)
    assert await authenticator.authenticate(header) is first


@dataclass
class AnIssuer:
    """A little issuer on loopback: it answers what it is told to, or nothing while it hangs, and counts its fetches."""

    document: Any
    url: str = ""
    fetches: int = 0
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    key: rsa.RSAPrivateKey = STRANGER

    def token(self, subject: str, kid: str = "one") -> str:
        now = int(time.time())
        claims = {"iss": self.url, "sub": subject, "aud": "ordermesh", "iat": now, "exp": now + 60}
        return f"Bearer {jwt.encode(claims, self.key, algorithm='RS256', headers={'kid': kid})}"

    async def jwks(self, _: Request) -> JSONResponse:
        self.fetches += 1
        await self.answering.wait()
        return JSONResponse(self.document)


GOOD = {**jwt.algorithms.RSAAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True), "kid": "one"}


@asynccontextmanager
async def asking(document: Any) -> AsyncIterator[tuple[AnIssuer, Authenticator]]:
    issuer, sock = AnIssuer(document), free_socket()
    issuer.answering.set()
    app = Starlette(routes=[Route("/jwks.json", issuer.jwks)])
    async with serving(app, sock) as issuer.url:
        made = Authenticator((Issuer(issuer=issuer.url, jwks_url=f"{issuer.url}/jwks.json"),))
        try:
            yield issuer, made
        finally:
            issuer.answering.set()
            await made.close()


async def test_callers_at_the_same_time_share_one_fetch() -> None:
    async with asking({"keys": [GOOD]}) as (issuer, authenticator):
        issuer.answering.clear()
        callers = [asyncio.create_task(authenticator.authenticate(issuer.token(f"{n}"))) for n in range(20)]
        async with asyncio.timeout(20):
            while not issuer.fetches:
                await asyncio.sleep(0.01)
        issuer.answering.set()
        assert [caller.subject for caller in await asyncio.gather(*callers)] == [f"{n}" for n in range(20)]
        assert issuer.fetches == 1


async def test_old_keys_serve_while_the_issuer_hangs_but_not_for_ever() -> None:
    async with asking({"keys": [GOOD]}) as (issuer, authenticator):
        await authenticator.authenticate(issuer.token("first"))
        keys = authenticator._verifier._keys[issuer.url]
        issuer.answering.clear()
        keys._fetched_at = keys._tried_at = time.monotonic() - 600
        for n in range(20):
            assert (await authenticator.authenticate(issuer.token(f"{n}"))).subject == f"{n}"
        assert keys._fetching is not None
        assert not keys._fetching.done()
        await keys.close()
        keys._fetched_at = time.monotonic() - 4000
        assert await refusal_of(authenticator, issuer.token("too late")) is Code.SERVICE_UNAVAILABLE


@pytest.mark.parametrize(
    ("document", "told"),
    [({"keys": [GOOD]}, Code.UNAUTHENTICATED), (["broken"], Code.SERVICE_UNAVAILABLE)],
)
async def test_an_unknown_key_asks_again_only_after_a_while_also_when_the_issuer_fails(
    document: Any, told: Code
) -> None:
    async with asking({"keys": [GOOD]}) as (issuer, authenticator):
        await authenticator.authenticate(issuer.token("first"))
        issuer.document = document
        keys = authenticator._verifier._keys[issuer.url]
        keys._fetched_at = keys._tried_at = time.monotonic() - 60
        for n in range(5):
            assert await refusal_of(authenticator, issuer.token(f"{n}", kid="unknown")) is told
        assert issuer.fetches == 2


async def test_a_token_may_be_good_while_its_issuer_is_away_and_is_when_it_is_back() -> None:
    """As a guest's is whose first request to a service falls into a restart of orders."""
    async with asking(["broken"]) as (issuer, authenticator):
        assert await refusal_of(authenticator, issuer.token("ann")) is Code.SERVICE_UNAVAILABLE
        issuer.document = {"keys": [GOOD]}
        authenticator._verifier._keys[issuer.url]._tried_at -= 3
        assert (await authenticator.authenticate(issuer.token("ann"))).subject == "ann"


async def test_keys_that_we_cannot_use_are_skipped() -> None:
    strange = [
        {"kty": "OKP", "crv": "X448", "kid": "x", "x": "AAAA"},
        {"kty": "RSA", "kid": "n", "n": 5, "e": None},
        {"kty": ["RSA"], "kid": "l"},
        {"kty": "RSA", "kid": ["l"]},
        "a string",
        None,
    ]
    async with asking({"keys": [*strange, GOOD]}) as (issuer, authenticator):
        assert (await authenticator.authenticate(issuer.token("ann"))).subject == "ann"


@pytest.mark.parametrize("document", [[], "keys", None, 5, {}, {"keys": {}}, {"keys": None}])
async def test_a_document_that_is_no_key_set_refuses_and_breaks_nothing(document: Any) -> None:
    async with asking(document) as (issuer, authenticator):
        assert await refusal_of(authenticator, issuer.token("ann")) is Code.SERVICE_UNAVAILABLE
        assert issuer.fetches == 1


async def test_a_key_set_without_a_key_that_we_can_use_is_an_answer() -> None:
    async with asking({"keys": ["one"]}) as (issuer, authenticator):
        assert await refused(authenticator, issuer.token("ann"))


async def test_one_caller_whose_issuer_is_away_makes_the_service_no_worse_for_others() -> None:
    """HTTP 503 would open the gateway's breaker for everybody."""

    @strawberry.type
    class Query:
        one: int = 1

    async with asking(["broken"]) as (issuer, authenticator):
        endpoint = GraphQLEndpoint(strawberry.Schema(Query), authenticator, None)
        app = Starlette(routes=[Mount("/graphql", endpoint)])
        async with serving(app, free_socket()) as url, ClientBuilder().build() as client:
            request = client.post(f"{url}/graphql").header("authorization", issuer.token("ann"))
            answer = await request.body_json({"query": "{ one }"}).build().send()
            (error,) = (await answer.json())["errors"]
    assert (answer.status, error["extensions"]["code"]) == (200, "SERVICE_UNAVAILABLE")


async def test_an_answer_that_cannot_be_written_is_an_answer_all_the_same() -> None:
    """A connection that broke off would open it too."""
    deep: Any = 1
    for _ in range(300):
        deep = [deep]

    @strawberry.type
    class Query:
        @strawberry.field
        def deep(self) -> JSON:
            return cast("JSON", deep)

    async with asking([]) as (_, authenticator):
        endpoint = GraphQLEndpoint(strawberry.Schema(Query), authenticator, None)
        app = Starlette(routes=[Mount("/graphql", endpoint)])
        async with serving(app, free_socket()) as url, ClientBuilder().build() as client:
            request = client.post(f"{url}/graphql").body_json({"query": "{ deep }"})
            answer = await request.build().send()
            (error,) = (await answer.json())["errors"]
    assert (answer.status, error["extensions"]["code"]) == (200, "INTERNAL")
