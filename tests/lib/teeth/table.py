"""The teeth: which protection is switched off, by which change of the code, and which tests are to fail then.

Production code has no switch: a tooth is a text that occurs exactly once in a file, and what stands there instead.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
SHARED, CHECKOUT, PAYMENTS, SHIPPING = (
    "shared/src/shared",
    "services/orders/src/orders/checkout",
    "services/payments/src/payments",
    "services/shipping/src/shipping",
)
INBOX, BUS, JOBS = "tests/shared/test_inbox.py", "tests/shared/test_bus.py", "tests/shared/test_jobs.py"


class StaleTooth(ValueError):
    """The code has changed under a tooth: it has to be cut anew."""


@dataclass(frozen=True, slots=True)
class Tooth:
    """`old` becomes `new` in `file`; at least one of `tests` (node ids) is to fail then. `what` is what no longer holds."""

    name: str
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def module(self) -> str:
        """`shared/src/shared/inbox.py` -> `shared.inbox`."""
        parts = Path(self.file).with_suffix("").parts
        return ".".join(parts[parts.index("src") + 1 :])

    def bare(self, source: str) -> str:
        """The file's text without the protection. Raises StaleTooth unless `old` occurs exactly once."""
        if (found := source.count(self.old)) != 1:
            raise StaleTooth(f"{self.name}: its text occurs {found} times in {self.file}, not once")
        return source.replace(self.old, self.new)


TEETH = (
    Tooth(
        "inbox insert",
        "no fact is remembered as heard: a redelivery counts again",
        f"{SHARED}/inbox.py",
        """    INSERT INTO inbox (event_id, consumer)
    SELECT id, $2 FROM unnest($1::uuid[]) AS id ORDER BY id
    ON CONFLICT DO NOTHING RETURNING event_id
""",
        "    SELECT id AS event_id FROM unnest($1::uuid[]) AS id\n",
        (f"{INBOX}::test_a_fact_delivered_again_in_the_batch_or_later_counts_once",),
    ),
    Tooth(
        "ordered relay: one of two",
        "two relays of a service send at the same time",
        f"{SHARED}/outbox.py",
        'while not await conn.fetchval("SELECT pg_try_advisory_lock($1)", _RELAY_LOCK):',
        "while False:",
        (
            "tests/shared/test_outbox.py::test_sixteen_writers_on_shared_accounts_lose_no_fact_and_invert_none",
        ),
    ),
    Tooth(
        "ordered relay: waves",
        "a key's events leave together, so that a failure lets a later one overtake",
        f"{SHARED}/outbox.py",
        "wave = _first_of_each_key(rows)",
        "wave = rows",
        ("tests/shared/test_outbox.py::test_a_failure_stops_the_relay_before_a_later_event_of_the_same_key",),
    ),
    Tooth(
        "aggregate lock",
        "an aggregate is read without its lock before its events are written",
        f"{SHARED}/mapping.py",
        ' ORDER BY "{key}" FOR UPDATE',
        ' ORDER BY "{key}"',
        (
            "tests/shared/test_outbox.py::test_sixteen_writers_on_shared_accounts_lose_no_fact_and_invert_none",
            "tests/shared/test_commands.py::test_without_a_key_concurrent_commands_wait_for_one_another_and_all_count",
        ),
    ),
    Tooth(
        "aggregate lock before the outbox",
        "a fact may be said about an aggregate that is not locked",
        f"{SHARED}/tx.py",
        "if not fact.is_whole and fact.key not in self.locked:",
        "if False:",
        ("tests/shared/test_commands.py::test_a_fact_about_an_aggregate_that_is_not_locked_cannot_be_said",),
    ),
    Tooth(
        "provider idempotency key",
        "Stripe is asked under a new key each time",
        f"{PAYMENTS}/provider.py",
        'return await self._call("post", path, idempotency_key=key, **params)',
        'return await self._call("post", path, **params)',
        (
            "tests/payments/test_purchase.py::test_the_intent_carries_the_order_and_the_jobs_id_as_its_key",
            "tests/payments/test_provider.py::test_a_500_that_is_not_replayed_is_asked_again_under_the_same_key_only",
        ),
    ),
    Tooth(
        "look-up of an unknown label",
        "a purchase whose outcome is unknown is repeated without a look",
        f"{SHIPPING}/worker.py",
        'if again or job.payload.get("looks"):',
        "if False:",
        (
            "tests/shipping/test_worker.py::test_a_lost_answer_leaves_one_live_label",
            "tests/shipping/test_worker.py::test_a_process_that_dies_around_the_purchase_leaves_one_live_label",
        ),
    ),
    Tooth(
        "offset after commit",
        "offsets are committed before the batch is handled",
        f"{SHARED}/bus/listener.py",
        "                done = await self._handle(self._in_hand)\n",
        """                if self._in_hand:
                    self._working.commit(offsets=_after(self._in_hand), asynchronous=False)
                await self._handle(self._in_hand)
""",
        (f"{BUS}::test_an_unforeseen_fault_stops_the_consumer_and_commits_nothing",),
    ),
    Tooth(
        "earliest reset",
        "a group without an offset begins at the end",
        f"{SHARED}/bus/listener.py",
        '"auto.offset.reset": "earliest"',
        '"auto.offset.reset": "latest"',
        (f"{BUS}::test_a_new_group_hears_what_was_said_before_it_came",),
    ),
    Tooth(
        "header parser: null",
        "a null header is taken for text",
        f"{SHARED}/inbox.py",
        "for name, value in self.headers if value is not None}",
        "for name, value in self.headers}",
        (f"{INBOX}::test_garbage_lies_in_the_dead_letters_byte_by_byte_and_blocks_nothing",),
    ),
    Tooth(
        "header parser: value",
        "a header that is not UTF-8 is no garbage but a fault",
        f"{SHARED}/inbox.py",
        "except UnicodeError as malformed:",
        "except ZeroDivisionError as malformed:",
        (f"{INBOX}::test_garbage_lies_in_the_dead_letters_byte_by_byte_and_blocks_nothing",),
    ),
    Tooth(
        "header parser: name",
        "a header's name that is not UTF-8 stops the consumer",
        f"{SHARED}/bus/listener.py",
        "except (SystemError, UnicodeDecodeError):",
        "except ZeroDivisionError:",
        (
            f"{BUS}::test_records_with_headers_that_the_library_cannot_read_are_kept_and_the_good_around_them_handled",
        ),
    ),
    Tooth(
        "rank of provider status: payments",
        "what Stripe says is believed whatever the payment's status is",
        f"{PAYMENTS}/domain.py",
        "STEPS[payment.status][intent.news]",
        "STEPS[PaymentState.REQUESTED][intent.news]",
        (
            "tests/payments/test_domain.py::TestTheTable::test_is_what_learn_follows",
            "tests/payments/test_purchase.py::test_webhooks_in_any_order_and_number_lead_to_the_same",
        ),
    ),
    Tooth(
        "rank of provider status: shipping",
        "a scan moves a shipment back",
        f"{SHIPPING}/tracking.py",
        "if target is None or RANK[target] <= RANK[status]:",
        "if target is None:",
        (
            "tests/shipping/test_tracking.py::test_in_whatever_order_scans_come_each_step_is_said_once_and_upwards",
        ),
    ),
    Tooth(
        "held key: later batches",
        "facts are handled although an earlier one of their key lies in the dead letters",
        f"{SHARED}/inbox.py",
        'set(row["held"])',
        "set()",
        (f"{INBOX}::test_a_failing_fact_is_undone_and_holds_only_its_own_key_back",),
    ),
    Tooth(
        "held key: the same batch",
        "facts are handled although an earlier one of their key has just failed",
        f"{SHARED}/handlers.py",
        "stuck.add(delivery.key)",
        "pass",
        (f"{INBOX}::test_a_failing_fact_is_undone_and_holds_only_its_own_key_back",),
    ),
    Tooth(
        "worker lease: claim",
        "a job is taken although another worker is at it",
        f"{SHARED}/worker.py",
        " AND (lease_until IS NULL OR lease_until < now())",
        "",
        (f"{JOBS}::test_a_job_is_leased_to_one_worker_at_a_time_and_only_the_holders_outcome_counts",),
    ),
    Tooth(
        "worker lease: token",
        "a worker records although its lease was taken over",
        f"{SHARED}/recorder.py",
        "WHERE j.lease_token = m.token AND j.state",
        "WHERE j.state",
        (f"{JOBS}::test_a_job_is_leased_to_one_worker_at_a_time_and_only_the_holders_outcome_counts",),
    ),
    Tooth(
        "pre-lock order",
        "a batch locks its aggregates in any order",
        f"{SHARED}/mapping.py",
        ' ORDER BY "{key}" FOR UPDATE',
        " ORDER BY random() FOR UPDATE",
        (f"{INBOX}::test_a_batch_locks_its_accounts_in_the_order_of_their_ids",),
    ),
    Tooth(
        "discount lock",
        "an order is priced by the code as it was read before its lock: many have the last use",
        f"{CHECKOUT}/place.py",
        "    locked = tx.find(DISCOUNTS, code.code)\n",
        "    locked = code\n",
        (
            "tests/orders/checkout/test_discounts.py::test_the_last_use_is_one_orders_alone_however_many_ask_at_once",
        ),
    ),
    Tooth(
        "guest's key",
        "guests share their Idempotency-Keys: one meets another's",
        f"{CHECKOUT}/guests.py",
        """    return replace(once, principal=f"{once.principal}|{who}")\n""",
        "    return replace(once, principal=once.principal)\n",
        ("tests/orders/checkout/test_guests.py::test_a_guests_key_is_long_and_nobody_elses",),
    ),
)
