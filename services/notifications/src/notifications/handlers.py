"""What notifications does about the facts it hears: note what has to be sent, once, and ask for it to be sent."""

from notifications.domain import Channel, Contact, Message, Notification
from notifications.messages import OCCASIONS, compose
from notifications.store import CONTACTS, NOTIFICATIONS
from shared.contracts.envelope import Fact
from shared.contracts.orders import OrderPlaced
from shared.handlers import Handlers
from shared.tx import Tx

handlers = Handlers("notifications")

JOBS = {Channel.EMAIL: "email.send", Channel.SMS: "sms.send", Channel.SLACK: "slack.post"}


@handlers.on(OrderPlaced, CONTACTS, NOTIFICATIONS)
async def on_order_placed(fact: OrderPlaced, tx: Tx) -> None:
    if tx.find(CONTACTS, fact.order_id) is None:
        tx.add(CONTACTS, _contact(fact))
    await on_fact(fact, tx)


async def on_fact(fact: Fact, tx: Tx) -> None:
    """A message that was noted before (a replay, long after the inbox forgot the fact) is not noted again."""
    contact = tx.find(CONTACTS, fact.key)
    noted = {notification.identity for notification in tx.all(NOTIFICATIONS, fact.key)}
    for notification, message in compose(fact, contact, tx.now, tx.new_id):
        if notification.identity not in noted:
            _note(notification, message, tx)


for _fact in OCCASIONS.keys() - handlers.by_fact.keys():
    handlers.on(_fact, CONTACTS, NOTIFICATIONS)(on_fact)


def _note(notification: Notification, message: Message | None, tx: Tx) -> None:
    tx.add(NOTIFICATIONS, notification)
    if message is not None:
        tx.request(JOBS[notification.channel], notification.order_id, message.payload())


def _contact(fact: OrderPlaced) -> Contact:
    return Contact(
        order_id=fact.order_id,
        order_number=fact.order_number,
        customer_id=fact.customer_id,
        partner_id=fact.partner_id,
        currency=fact.currency,
        name=fact.contact.name,
        email=fact.contact.email,
        phone=fact.contact.phone,
    )
