"""Tokens for development, from the issuer of the running sandbox."""

import json

from ordermesh import loopback
from ordermesh.errors import LauncherError
from ordermesh.programs import SANDBOX, url
from ordermesh.state import RunDirectory

ROLES = ("shopper", "staff", "partner")


def refuse_nonsense(role: str, *, subject: str | None, scope: str | None) -> None:
    """Raises LauncherError for what people type and would get another token by than they think.

    The issuer itself signs what it is asked to. Services overlook a scope that they do not know, and give all to a token that
    names none.
    """
    if subject is not None and not subject.strip():
        raise LauncherError("A blank --subject is nobody: leave it out for the role's own.")
    if scope is None:
        return
    if role != "staff":
        raise LauncherError(f"Scopes are what staff may change: a {role} has none, leave out --scope.")
    from shared.auth import Scope  # noqa: PLC0415 - it brings clients and keys, which no other command needs

    named = scope.split()
    unknown = [word for word in named if word not in list(Scope)]
    if unknown or not named:
        wrong = f"{', '.join(unknown)} is no scope" if unknown else "A blank --scope is none"
        raise LauncherError(f"{wrong}: there are {', '.join(Scope)}.")


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
