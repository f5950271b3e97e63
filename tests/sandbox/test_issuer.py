"""The development issuer: tokens that any OIDC client verifies."""

from pathlib import Path
from typing import Any

import jwt
import pytest
from pyreqwest.client import Client

import sandbox
from sandbox.issuer import TokenRequest


async def fetch(http: Client, url: str) -> Any:
    return await (await http.get(url).build().send()).json()


async def verified(http: Client, issuer: str, token: str) -> dict[str, Any]:
    """The claims, verified as a service would: discovery, key set, key by its id."""
    configuration = await fetch(http, f"{issuer}/.well-known/openid-configuration")
    assert configuration["issuer"] == issuer
    keys = jwt.PyJWKSet.from_dict(await fetch(http, configuration["jwks_uri"]))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"], audience="ordermesh", issuer=issuer)
    return claims


async def test_tokens_carry_what_was_asked_and_verify_against_the_key_set(
    box: sandbox.Box, http: Client
) -> None:
    wanted = {
        "role": "staff",
        "sub": "staff-1",
        "scope": "support finance",
        "name": "Grace",
        "ttl_seconds": 60,
    }
    answer = await http.post(f"{box.url}/issuer/token").body_json(wanted).build().send()
    assert answer.status == 200
    claims = await verified(http, f"{box.url}/issuer", (await answer.json())["token"])
    assert claims["exp"] - claims["iat"] == 60
    asked = {name: value for name, value in wanted.items() if name != "ttl_seconds"}
    assert {name: claims[name] for name in asked} == asked
    assert "email" not in claims


async def test_an_expired_token_can_be_had(box: sandbox.Box, http: Client) -> None:
    token = box.issuer.token(TokenRequest(role="shopper", sub="ada", ttl_seconds=-1))
    with pytest.raises(jwt.ExpiredSignatureError):
        await verified(http, f"{box.url}/issuer", token)


@pytest.mark.parametrize(
    "wrong", [{"role": "root", "sub": "x"}, {"role": "staff"}, {"role": "staff", "sub": "x", "aud": "y"}]
)
async def test_bad_requests_are_refused(box: sandbox.Box, http: Client, wrong: dict[str, str]) -> None:
    answer = await http.post(f"{box.url}/issuer/token").body_json(wrong).build().send()
    assert answer.status == 400
    assert "token" not in await answer.json()


async def test_the_key_outlives_a_restart(settings: sandbox.Settings, http: Client, tmp_path: Path) -> None:
    kept = settings.model_copy(update={"state": str(tmp_path / "state"), "issuer_url": "http://issuer.test"})
    async with sandbox.running(kept) as box:
        token = box.issuer.token(TokenRequest(role="partner", sub="acme"))
    async with sandbox.running(kept) as box:
        keys = jwt.PyJWKSet.from_dict(await fetch(http, f"{box.url}/issuer/jwks.json"))
    claims = jwt.decode(
        token, keys.keys[0], algorithms=["RS256"], audience="ordermesh", issuer="http://issuer.test"
    )
    assert (claims["role"], claims["sub"]) == ("partner", "acme")
