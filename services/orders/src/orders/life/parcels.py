"""What people say about parcels: given to a courier by hand, arrived, come back. Pure; times in UTC."""

from dataclasses import replace
from typing import Any
from uuid import uuid5

from orders.decisions import about_order, decide, derive, noted
from orders.domain import OUT, Act, Decision, Order, Shipment, Stage
from orders.lines import with_quantities
from orders.status import Command, OrderStatus
from shared.contracts import orders as facts


def handed_over(order: Order, act: Act) -> Decision:
    """All that is not out yet left by hand, under the tracking that the order carries: shipping voids what it has prepared."""
    if order.status is not OrderStatus.PROCESSING:
        return decide(order, Command.SHIP, act)
    left = {line.line: line.live - line.shipped for line in order.lines if line.live > line.shipped}
    number = sum(shipment.by_hand for shipment in order.shipments) + 1
    parcel = Shipment(uuid5(order.id, f"by hand {number}"), Stage.DISPATCHED, left, by_hand=True)
    said = facts.OrderHandedOver(
        **about_order(order),
        handed_over_at=act.now,
        lines=tuple(facts.LineQuantity(line=line, quantity=quantity) for line, quantity in left.items()),
        carrier=order.shipping_carrier or "",
        tracking_number=order.tracking or "",
        tracking_url=order.tracking_url,
    )
    gone = with_quantities(replace(order, shipments=(*order.shipments, parcel), updated_at=act.now))
    decision = Decision(gone, (said,))
    return derive(order, decision.then(decide(gone, Command.SHIP, act)), act)


def delivered(order: Order, act: Act) -> Decision:
    """Somebody's word that everything arrived: what is on its way counts as delivered."""
    return _all(order, Command.MARK_DELIVERED, frozenset({Stage.DISPATCHED}), Stage.DELIVERED, act)


def returned(order: Order, act: Act) -> Decision:
    """Somebody's word that everything came back."""
    return _all(order, Command.MARK_RETURNED, OUT, Stage.RETURNED, act)


def _all(order: Order, command: Command, stages: frozenset[Stage], to: Stage, act: Act) -> Decision:
    decision = decide(order, command, act)
    if not decision.entries:
        return decision
    shipments = tuple(replace(s, stage=to) if s.stage in stages else s for s in order.shipments)
    return decision.then(Decision(with_quantities(replace(decision.order, shipments=shipments))))


def tracked(order: Order, act: Act, **details: Any) -> Decision:
    """Carrier, service and tracking as staff write them; where nothing is new, nothing is said. A new number has a new link."""
    decision = decide(order, Command.TRACK, act)
    if details.get("tracking", order.tracking) != order.tracking:
        details = {"tracking_url": None, **details, **order.followed_by(details["tracking"])}
    changed = replace(order, **details)
    if decision.refused is not None or changed == order:
        return decision
    return Decision(replace(changed, updated_at=act.now), (), (noted(order, Command.TRACK, act),))
