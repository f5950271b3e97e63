"""Tokens for development, from the issuer of the running sandbox."""

import json

from ordermesh import loopback
from ordermesh.errors import LauncherError
from ordermesh.programs import SANDBOX, url
from ordermesh.state import RunDirectory

ROLES = ("shopper", "staff", "partner")


async def token(
    directory: RunDirectory,
    role: str,
    *,
    subject: str | None = None,
    scope: str | None = None,
    ttl: int | None = None,
) -> str:
    """A signed token. `ttl` in seconds. Raises LauncherError if no stack runs here or its issuer refuses."""
    sandbox = directory.running(SANDBOX)
    if sandbox is None:
        raise LauncherError(f"No stack runs in {directory.path}: start one with `ordermesh up`.")
    who = subject or f"demo-{role}"
    person = {"email": f"{who}@example.com", "name": who.replace("-", " ").title()}
    wanted = {"role": role, "sub": who, "scope": scope, "ttl_seconds": ttl, **person}
    body = {name: value for name, value in wanted.items() if value is not None}
    try:
        status, answer = await loopback.request("POST", f"{url(sandbox.port)}/issuer/token", body)
    except (OSError, TimeoutError) as error:
        raise LauncherError(f"The sandbox's issuer does not answer: {error}") from error
    if status >= 300:  # noqa: PLR2004 - HTTP's own boundary
        raise LauncherError(f"The issuer refused ({status}): {answer.decode(errors='replace')[:500]}")
    issued: str = json.loads(answer)["token"]
    return issued
