"""Idempotency keys with Stripe's semantics.

Promises: once a request's execution began, its status and body are kept with its effect and every repeat answers the same
(declines included) with `Idempotent-Replayed: true`; other parameters are an error; a repeat while the first still runs is
a conflict; what failed validation or authentication is not remembered. Keys are kept for good (Stripe: at least 24 hours).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from sandbox.endpoint import Answer, Call, Effect, Refusal
from sandbox.state import State
from sandbox.stripe.errors import Conflict, error
from sandbox.stripe.objects import new_id


class Idempotency:
    def __init__(self, state: State) -> None:
        self._db = state.db
        self._in_progress: set[str] = set()

    @contextmanager
    def guard(self, call: Call) -> Iterator[None]:
        """Raises Refusal (409) while another call with the same key is under way, slow faults included."""
        key = call.idempotency_key
        if key is None:
            yield
            return
        if key in self._in_progress:
            message = (
                f"There is currently another in-progress request using this Stripe-Idempotent-Key: {key}"
            )
            raise Refusal(error(409, "idempotency_error", message, code="idempotency_key_in_use"))
        self._in_progress.add(key)
        try:
            yield
        finally:
            self._in_progress.discard(key)

    def once(self, effect: Effect) -> Effect:
        """The effect, or the answer that it gave before under the same key. Runs inside the effect's transaction."""

        def run(call: Call) -> Answer:
            request_id = new_id("req")
            if call.idempotency_key is None:
                return _stamped(effect(call), request_id)
            saved = self._saved(call, call.idempotency_key)
            if saved is not None:
                return saved
            try:
                answer = effect(call)
            except Conflict as conflict:
                answer = conflict.answer
            self._db.execute(
                "INSERT INTO idempotency (key, path, parameters, status, body, request_id) VALUES (?, ?, ?, ?, ?, ?)",
                (call.idempotency_key, call.path, _parameters(call), answer.status, answer.body, request_id),
            )
            return _stamped(answer, request_id, call.idempotency_key)

        return run

    def _saved(self, call: Call, key: str) -> Answer | None:
        row = self._db.execute(
            "SELECT path, parameters, status, body, request_id FROM idempotency WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        path, parameters, status, body, request_id = row
        advice = f"Try using a key other than '{key}' if you meant to execute a different request."
        if path != call.path:
            message = f"Keys for idempotent requests can only be used for the same endpoint they were first used for ('{call.path}' vs '{path}'). {advice}"
            raise Refusal(error(400, "idempotency_error", message))
        if parameters != _parameters(call):
            message = f"Keys for idempotent requests can only be used with the same parameters they were first used with. {advice}"
            raise Refusal(error(400, "idempotency_error", message))
        headers = {"Idempotent-Replayed": "true", "Original-Request": request_id}
        return _stamped(Answer(status, body, headers=headers), new_id("req"), key)


def _parameters(call: Call) -> bytes:
    return orjson.dumps(call.params, option=orjson.OPT_SORT_KEYS)


def _stamped(answer: Answer, request_id: str, key: str | None = None) -> Answer:
    headers = {**answer.headers, "Request-Id": request_id}
    if key is not None:
        headers["Idempotency-Key"] = key
    return Answer(answer.status, answer.body, answer.media_type, headers)
