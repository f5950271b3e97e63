"""The closing table of a run, and the first violation with its history."""

from collections import Counter

from chaos.run import Report


def show(report: Report) -> str:
    """What happened, in lines."""
    kinds = Counter(fault.kind.value for fault in report.injected)
    ended = sum(not told.failure for told in report.told)
    lines = [
        f"seed {report.schedule.seed}, {len(report.told)} orders begun, {ended} ended as told",
        "",
        *(_line(kind, count) for kind, count in sorted(kinds.items())),
        *(_line(f"provider: {kind}", count) for kind, count in sorted(report.provider_faults.items())),
        _line("faults in all", kinds.total() + report.provider_faults.total()),
        "",
        _line("recoveries", len(report.recoveries)),
        _line("recovered within, p50 (s)", f"{report.recovery(50):.1f}"),
        _line("recovered within, p95 (s)", f"{report.recovery(95):.1f}"),
        "",
        *(_line(f"asked again after {code}", count) for code, count in sorted(report.asked_again.items())),
        "",
        *(f"{what:<48}{ours:>12}{theirs:>12}{broken:>6}" for what, ours, theirs, broken in report.figures),
        "",
        _line("crash points not reached", ", ".join(report.unreached) or 0),
        _line("violations", len(report.violations)),
    ]
    if report.violations:
        by_rule = Counter(violation.rule for violation in report.violations)
        lines += [f"  {count:>4}  {rule}" for rule, count in by_rule.most_common()]
        lines += ["", *map(str, report.violations[:20]), ""]
        # What is broken is not always an order.
        lines += ["The first one's history:", *report.history] if report.history else []
        lines.append(f"Again: make chaos SEED={report.schedule.seed} ORDERS={report.schedule.orders}")
    return "\n".join(lines)


def _line(what: str, figure: object) -> str:
    return f"{what:<48}{figure!s:>12}"
