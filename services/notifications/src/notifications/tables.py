"""The tables of notifications. The words of a message are not kept here: they live in its job and go with it."""

from sqlalchemy import CheckConstraint, Column, DateTime, Index, Integer, MetaData, Table, Text, Uuid

metadata = MetaData()
_TIME = DateTime(timezone=True)

contacts = Table(
    "contacts",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("order_number", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("partner_id", Text),
    Column("currency", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("phone", Text),
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("template", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("business_key", Text, nullable=False),
    Column("recipient", Text),
    Column("status", Text, nullable=False),
    Column("provider_id", Text),
    Column("failure_reason", Text),
    Column("created_at", _TIME, nullable=False),
    Column("sent_at", _TIME),
    CheckConstraint("channel IN ('EMAIL', 'SMS', 'SLACK')", name="notifications_channel_known"),
    CheckConstraint(
        "status IN ('REQUESTED', 'SENT', 'FAILED', 'SKIPPED', 'UNKNOWN')", name="notifications_status_known"
    ),
    Index("notifications_once", "order_id", "template", "channel", "business_key", unique=True),
)
