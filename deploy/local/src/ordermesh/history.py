"""One order, told from the evidence."""

from ordermesh.evidence import Evidence


def history(evidence: Evidence, order_id: str) -> list[str]:
    """Everything that is known of one order, in order of time: facts, timeline, jobs, what providers saw."""
    found: list[tuple[str, str]] = []
    found += [
        (fact["time"], f"fact      {fact['service']} said {fact['type']}")
        for fact in evidence.facts
        if fact["key"] == order_id
    ]
    found += [
        (
            _at(entry["at"]),
            f"timeline  {entry['what']}: {entry['from_status']} -> {entry['to_status']} ({entry['actor']})",
        )
        for entry in evidence.timeline.get(order_id, ())
    ]
    found += [
        (
            _at(job["created_at"]),
            f"job       {job['service']} {job['kind']} {job['state']}, attempt {job['attempts']} {job['last_error'] or ''}",
        )
        for job in evidence.jobs
        if job["key"] == order_id
    ]
    found += [
        (effect["at"], f"provider  {effect['kind']} {effect['resource']} {effect['amount'] or ''}")
        for effect in evidence.effects
        if effect["order_id"] == order_id
    ]
    found += [
        (_at(letter["failed_at"]), f"buried    {letter['service']}: {letter['reason']}")
        for letter in evidence.dead_letters
        if letter["aggregate_key"] == order_id
    ]
    return [f"{at[11:23]}  {what}" for at, what in sorted(found)]


def _at(at: object) -> str:
    return str(at).replace(" ", "T")
