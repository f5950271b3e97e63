"""Stripe's error bodies, and which of them an idempotency key remembers."""

from typing import Any

from sandbox.endpoint import Answer, Refusal


def error(status: int, kind: str, message: str, **details: Any) -> Answer:
    """`kind` is Stripe's error type; `details` that are None are left out, as Stripe does."""
    body: dict[str, Any] = {name: value for name, value in details.items() if value is not None}
    if "code" in body:
        body["doc_url"] = f"https://stripe.com/docs/error-codes/{body['code'].replace('_', '-')}"
    return Answer.json({"error": body | {"message": message, "type": kind}}, status)


class Invalid(Refusal):
    """The parameters do not pass validation: nothing began, so an idempotency key does not remember it."""

    def __init__(
        self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(error(status, "invalid_request_error", message, code=code, param=param))


class Missing(Invalid):
    """No such object."""

    def __init__(self, kind: str, resource_id: str, param: str) -> None:
        message = f"No such {kind}: '{resource_id}'"
        super().__init__(message, status=404 if param == "id" else 400, code="resource_missing", param=param)


class Conflict(Refusal):
    """The object's state does not allow the operation: execution had begun, so an idempotency key remembers it."""

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, **details: Any
    ) -> None:
        super().__init__(error(400, "invalid_request_error", message, code=code, param=param, **details))


class Unauthorized(Refusal):
    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(error(401, "invalid_request_error", message, code=code))
