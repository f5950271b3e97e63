"""The providers' own faults, by the sandbox's control calls: a share of their calls and of their webhooks goes wrong.

No webhook is lost for good: Stripe and Shippo repeat theirs for days, which is what the services rest on.
"""

from collections import Counter
from typing import Any

from ordermesh.shop import Shop

CALLS = (
    "reset",
    "unavailable",
    "rate_limited",
    "error",
    "error_after_effect",
    "lost_answer",
    "slow",
    "hang",
)
WEBHOOKS = ("duplicated", "delayed", "reordered", "dropped", "forged")
A_DAY_LATER = {"stripe.refunds.create": "error"}
"""A refund that Stripe failed to make is asked for again the next day (`payments.attempts`): nobody waits for that here."""


async def fail(shop: Shop, seed: int, probability: float) -> None:
    """From now on."""
    known = await _ask(shop, {"target": "?", "kinds": ["reset"]})
    for target in known["error"]["known"]:
        if not target.startswith("webhooks."):
            kinds = [kind for kind in CALLS if A_DAY_LATER.get(target) != kind]
            await _ask(shop, {"target": target, "kinds": kinds, "probability": probability, "seed": seed})
    await _ask(shop, {"target": "webhooks.*", "kinds": WEBHOOKS, "probability": probability, "seed": seed})


async def _ask(shop: Shop, rule: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError when the sandbox will not have the rule."""
    answer = await shop.sandbox("POST", "/control/faults", rule)
    if "error" in answer and answer["error"]["code"] != "unknown_target":
        raise ValueError(answer["error"]["message"])
    return answer


async def recover(shop: Shop) -> Counter[str]:
    """No more of it; answers how many there were of each kind.

    How a forgery was answered is in the sandbox's record too, as `forged.400`: that is no fault, but what became of one.
    """
    await shop.sandbox("DELETE", "/control/faults")
    found: Counter[str] = Counter()
    since = 0
    while True:
        page: dict[str, Any] = await shop.sandbox("GET", f"/control/faults/injected?since={since}&limit=500")
        if not page["injected"]:
            return found
        found.update(kind for fault in page["injected"] if "." not in (kind := str(fault["kind"])))
        since = page["next"]
