"""Single items, decided: nothing here needs a database."""

from dataclasses import replace

from orders.life.items import cancel_items, change_address, edition
from orders.status import OrderStatus
from support.orders import ACT, ADDRESS, an_order


def test_an_edit_comes_to_what_its_preview_told_while_nothing_that_it_is_reckoned_from_has_changed() -> None:
    order = an_order(status=OrderStatus.PROCESSING, captured=3599)
    previewed = edition(order)
    assert edition(replace(order, stripe_fee=30, version=order.version + 1)) == previewed
    fewer_pieces = cancel_items(order, {1: 1}, ACT).order
    elsewhere = change_address(order, {**ADDRESS, "street": "2 Elm Street"}, ACT).order
    assert len({previewed, edition(fewer_pieces), edition(elsewhere)}) == 3
