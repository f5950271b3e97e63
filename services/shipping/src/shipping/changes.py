"""What becomes of an order's shipments when the order changes: pieces less, elsewhere, by hand, on hold, in two parcels. Pure.

A prepared shipment is never altered: it is void, and another is prepared, so that whoever adds up what was said of each shipment
is right. What has a label gives it back first, and is prepared anew when that is done.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.errors import Code, Refusal
from shipping import domain
from shipping.domain import (
    UNDER_WAY,
    Consignment,
    Decision,
    Hold,
    LineQuantity,
    Shipment,
    ShipmentStatus,
    StaffCase,
)

NewId = Callable[[], UUID]


@dataclass(frozen=True, slots=True)
class Change:
    """The consignment as it is now, and what becomes of its shipments."""

    consignment: Consignment
    decisions: tuple[Decision, ...] = ()


def begin(
    consignment: Consignment, lines: Sequence[LineQuantity], shipment_id: UUID, now: datetime
) -> Change:
    """The order is paid: `lines` are what is still wanted of it."""
    wanted = _wanting(consignment, _count(lines))
    return Change(wanted, (domain.prepare(wanted, lines, shipment_id, now),))


def withdraw(
    consignment: Consignment,
    shipments: Sequence[Shipment],
    lines: Iterable[LineQuantity],
    new_id: NewId,
    now: datetime,
) -> Change:
    """`lines` are wanted no more. They come off what is prepared, the newest first, then off what has a label.

    What is on its way already is a case for staff.
    """
    after = _wanting(consignment, _count(consignment.lines) - _count(lines))
    excess = _held(shipments) - _count(after.lines)
    decisions: list[Decision] = []
    newest_first = list(reversed(shipments))
    for shipment in sorted(newest_first, key=_effort):
        taken = _count(shipment.lines) & excess
        if taken and shipment.status is not ShipmentStatus.VOIDED:
            excess -= taken
            decisions += _without(after, shipment, taken, new_id, now)
    return Change(after, tuple(decisions))


def hand_over(
    consignment: Consignment, shipments: Sequence[Shipment], lines: Iterable[LineQuantity], now: datetime
) -> Change:
    """Staff gave `lines` to a courier themselves: nothing of the order is left to prepare. What is on its way stays so."""
    after = _wanting(consignment, _count(consignment.lines) - _count(lines))
    here = (shipment for shipment in shipments if shipment.dispatched_at is None)
    return Change(after, tuple(domain.cancel(shipment, now) for shipment in here))


def redirect(
    consignment: Consignment,
    shipments: Sequence[Shipment],
    address: dict[str, Any],
    new_id: NewId,
    now: datetime,
) -> Change:
    """Another address; the name and the phone number stay where it has none. A label to the old one goes back."""
    kept = {field: address[field] or consignment.address[field] for field in ("name", "phone")}
    after = replace(consignment, address=address | kept, shipping_rate_id=None)
    decisions: list[Decision] = []
    for shipment in shipments:
        if shipment.label in UNDER_WAY and shipment.status is ShipmentStatus.PREPARED:
            decisions += [
                domain.void(shipment, now),
                domain.prepare(after, shipment.lines, new_id(), now),
            ]
        elif shipment.status is ShipmentStatus.LABELLED:
            decisions.append(domain.give_label_back(shipment))
        elif shipment.status is ShipmentStatus.DISPATCHED:
            decisions.append(_case(shipment, StaffCase.ADDRESS_CHANGED_AFTER_DISPATCH))
    return Change(after, tuple(decisions))


def hold(consignment: Consignment, held: Hold) -> Consignment:
    """A hold that was heard of before, or is over already, changes nothing."""
    if held.id in consignment.released or any(known.id == held.id for known in consignment.holds):
        return consignment
    return replace(consignment, holds=(*consignment.holds, held))


def release(consignment: Consignment, hold_id: UUID) -> Consignment:
    if hold_id in consignment.released:
        return consignment
    left = tuple(known for known in consignment.holds if known.id != hold_id)
    return replace(consignment, holds=left, released=(*consignment.released, hold_id))


def prepare_anew(
    consignment: Consignment,
    shipments: Sequence[Shipment],
    lines: Iterable[LineQuantity],
    new_id: NewId,
    now: datetime,
) -> tuple[Decision, ...]:
    """Of `lines`, which were to go out and do not, what the order still wants and nothing else holds."""
    wanted = Counter[int]() if consignment.cancelled_at else _count(consignment.lines) - _held(shipments)
    again = _lines(_count(lines) & wanted)
    return (domain.prepare(consignment, again, new_id(), now),) if again else ()


def split(
    consignment: Consignment, shipment: Shipment, lines: Iterable[LineQuantity], new_id: NewId, now: datetime
) -> tuple[Decision, ...]:
    """Two parcels of one that has no label: `lines`, and the rest. Raises Refusal INVALID_TRANSITION or BAD_INPUT."""
    if ShipmentStatus.LABELLED not in domain.allowed(shipment):
        raise Refusal(
            Code.INVALID_TRANSITION,
            f"A shipment that is {shipment.status} cannot be split now",
            status=shipment.status,
            allowed=list(domain.allowed(shipment)),
        )
    whole, part = _count(shipment.lines), _count(lines)
    if not part or not part < whole:
        raise Refusal(
            Code.BAD_INPUT,
            "lines names pieces of the shipment: fewer than all, and none that it does not have",
            argument="lines",
        )
    parcels = (domain.prepare(consignment, _lines(pieces), new_id(), now) for pieces in (part, whole - part))
    return (domain.void(shipment, now), *parcels)


def _without(
    consignment: Consignment, shipment: Shipment, taken: Counter[int], new_id: NewId, now: datetime
) -> Iterator[Decision]:
    if shipment.dispatched_at is not None:
        yield _case(shipment, StaffCase.CANCELLED_AFTER_DISPATCH)
    elif shipment.status is ShipmentStatus.LABELLED:
        yield domain.give_label_back(shipment)
    else:
        yield domain.void(shipment, now)
        if rest := _lines(_count(shipment.lines) - taken):
            yield domain.prepare(consignment, rest, new_id(), now)


def _case(shipment: Shipment, case: StaffCase) -> Decision:
    return Decision(replace(shipment, staff_case=shipment.staff_case or case))


def _effort(shipment: Shipment) -> int:
    """How much it takes to take pieces off: nothing, a label, a parcel that is under way."""
    if shipment.dispatched_at is not None:
        return 2
    return 1 if shipment.status is ShipmentStatus.LABELLED else 0


def _held(shipments: Iterable[Shipment]) -> Counter[int]:
    """The pieces that are in a shipment, or went out in one."""
    live = (shipment for shipment in shipments if shipment.status is not ShipmentStatus.VOIDED)
    return sum((_count(shipment.lines) for shipment in live), Counter[int]())


def _count(lines: Iterable[LineQuantity | domain.Line]) -> Counter[int]:
    """Pieces by line."""
    pieces = Counter[int]()
    for line in lines:
        pieces[line.line] += line.quantity
    return +pieces


def _lines(pieces: Counter[int]) -> tuple[LineQuantity, ...]:
    return tuple(LineQuantity(line, quantity) for line, quantity in sorted(pieces.items()))


def _wanting(consignment: Consignment, pieces: Counter[int]) -> Consignment:
    """A line that is wanted no more stays, since its weight may be asked for yet."""
    return replace(
        consignment, lines=tuple(replace(line, quantity=pieces[line.line]) for line in consignment.lines)
    )
