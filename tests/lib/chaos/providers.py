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


async def fail(shop: Shop, seed: int, probability: float) -> None:
    """From now on."""
    for target, kinds in (("*", CALLS), ("webhooks.*", WEBHOOKS)):
        rule = {"target": target, "kinds": kinds, "probability": probability, "seed": seed}
        answer = await shop.sandbox("POST", "/control/faults", rule)
        if "error" in answer:
            raise ValueError(answer["error"])


async def recover(shop: Shop) -> Counter[str]:
    """No more of it; answers how many there were of each kind."""
    await shop.sandbox("DELETE", "/control/faults")
    found: Counter[str] = Counter()
    since = 0
    while True:
        page: dict[str, Any] = await shop.sandbox("GET", f"/control/faults/injected?since={since}&limit=500")
        if not page["injected"]:
            return found
        found.update(str(fault["kind"]) for fault in page["injected"])
        since = page["next"]
