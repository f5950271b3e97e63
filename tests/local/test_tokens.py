"""Development tokens, as a service takes them."""

import pytest

import sandbox
from ordermesh.errors import LauncherError
from ordermesh.process import Identity
from ordermesh.programs import SANDBOX
from ordermesh.state import RunDirectory, Running
from ordermesh.tokens import refuse_nonsense, token
from sandbox.settings import Settings as SandboxSettings
from shared.auth import Authenticator, Principal, Role, Scope
from shared.settings import Issuer


async def principal_of(directory: RunDirectory, scope: str | None) -> Principal:
    async with sandbox.running(SandboxSettings(port=0, smtp_port=0)) as box:
        directory.record(SANDBOX, Running(Identity.current(), int(box.url.rpartition(":")[2])))
        bearer = await token(directory, "staff", scope=scope)
        issuer = Issuer(issuer=box.issuer.url, jwks_url=f"{box.issuer.url}/jwks.json")
        authenticator = Authenticator((issuer,))
        principal = await authenticator.authenticate(f"Bearer {bearer}")
        await authenticator.close()
    return principal


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("support", {Scope.SUPPORT}),
        ("support finance", {Scope.SUPPORT, Scope.FINANCE}),
        ("openid fulfilment", {Scope.FULFILMENT}),
        (None, set(Scope)),
    ],
)
async def test_staff_have_the_scopes_that_were_asked_for_and_all_when_none_were(
    directory: RunDirectory, scope: str | None, scopes: set[Scope]
) -> None:
    principal = await principal_of(directory, scope)
    assert (principal.role, principal.subject) == (Role.STAFF, "demo-staff")
    assert principal.scopes == scopes


@pytest.mark.parametrize("scope", [*Scope, " ".join(Scope), None])
def test_every_scope_that_there_is_may_be_asked_for(scope: str | None) -> None:
    refuse_nonsense("staff", subject=None, scope=scope)


async def test_without_a_stack_there_is_no_token(directory: RunDirectory) -> None:
    with pytest.raises(LauncherError, match="ordermesh up"):
        await token(directory, "staff")
