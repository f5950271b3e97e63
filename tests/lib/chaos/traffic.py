"""Shoppers, staff and carriers who do not give up: the stories of the demo, many at once, each request made until it is answered.

What failed on its way is sent again under the same Idempotency-Key, as a storefront does that saw a connection break.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import orjson
from pyreqwest.exceptions import PyreqwestError

from ordermesh.shop import Places, Reading, Shop
from ordermesh.stories import STORIES

FIRST_PAUSE, LAST_PAUSE = 0.2, 3.0
AGAIN = {"SERVICE_UNAVAILABLE", "SERVICE_TIMEOUT", "SERVICE_INVALID_ANSWER", "INTERNAL"}
"""The codes after which a storefront asks again."""


class PatientShop(Shop):
    """`acknowledged`: the orders whose placing was answered. `answers` counts the codes of what had to be asked again."""

    def __init__(self, places: Places, *, patience: float) -> None:
        super().__init__(places, patience=patience, poll=1.0)
        self.acknowledged: set[str] = set()
        self.answers: Counter[str] = Counter()

    async def sandbox(self, method: str, path: str, body: Reading | None = None) -> Reading:
        async for _ in self._attempts(f"{method} {path}"):
            try:
                return await super().sandbox(method, path, body)
            except (PyreqwestError, orjson.JSONDecodeError) as broken:
                self.answers[f"sandbox {type(broken).__name__}"] += 1
        raise AssertionError("attempts end by themselves")

    async def _post(self, url: str, body: Reading, headers: dict[str, str]) -> Reading:
        async for _ in self._attempts(str(body["query"])[:60]):
            try:
                answer = await super()._post(url, body, headers)
            except (PyreqwestError, orjson.JSONDecodeError) as broken:
                self.answers[type(broken).__name__] += 1
                continue
            codes = {error.get("extensions", {}).get("code") for error in answer.get("errors") or ()}
            self.answers.update(codes & AGAIN)
            if _is_done(body, answer):
                answer = {"data": answer["data"]}
            elif codes & AGAIN:
                continue
            self._note(answer)
            return answer
        raise AssertionError("attempts end by themselves")

    def _note(self, answer: Reading) -> None:
        placed = (answer.get("data") or {}).get("createOrder")
        if placed:
            self.acknowledged.add(placed["id"])

    async def _attempts(self, what: str) -> AsyncIterator[None]:
        """One after the other, with growing pauses. Raises TimeoutError when patience is at its end."""
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        deadline = loop.time() + self.patience
        while loop.time() < deadline:
            yield
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)
        raise TimeoutError(f"no answer within {self.patience:.0f} s: {what}")


def _is_done(request: Reading, answer: Reading) -> bool:
    """A mutation that answered is done, whatever another service could not tell of it just now: that is read again."""
    data = answer.get("data") or {}
    return str(request["query"]).startswith("mutation") and bool(data) and None not in data.values()


@dataclass(frozen=True)
class Told:
    """A story as it ended: with its order, or with the reason why it did not end as it is told."""

    story: str
    shopper: str
    order_id: str
    failure: str = ""


class Traffic:
    """Begins stories in turn, `at_once` at a time. `begun` counts them."""

    def __init__(self, shop: PatientShop, *, at_once: int) -> None:
        self._shop, self._at_once = shop, at_once
        self.begun = 0
        self.told: list[Told] = []

    async def run(self, go_on: Callable[[int], bool]) -> None:
        """Until `go_on` (asked with the number begun) says no; then those under way are told to their end."""
        await asyncio.gather(*(self._tell(go_on) for _ in range(self._at_once)))

    async def _tell(self, go_on: Callable[[int], bool]) -> None:
        names = list(STORIES)
        while go_on(self.begun):
            number, self.begun = self.begun, self.begun + 1
            name, shopper = names[number % len(names)], f"chaos{number}"
            try:
                order = await STORIES[name](self._shop, shopper)
            except Exception as error:  # noqa: BLE001 - a story that did not end is a finding, and the others go on
                self.told.append(Told(name, shopper, "", f"{type(error).__name__}: {error}"))
            else:
                self.told.append(Told(name, shopper, order["id"]))
