"""`python -m chaos --seed N --orders N`: one run, its log, its closing table. Exit code 0 when nothing was broken."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from chaos.report import show
from chaos.run import run
from chaos.schedule import schedule


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="which schedule (default: a new one, printed)")
    parser.add_argument(
        "--orders", type=int, default=300, help="how many orders, at least (default: %(default)s)"
    )
    parser.add_argument(
        "--home",
        type=Path,
        help="where data and logs go and stay (default: a temporary place, kept when the run fails)",
    )
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if arguments.seed is None else arguments.seed
    plan = schedule(seed, arguments.orders)
    print(
        f"seed {seed}: {len(plan.faults)} faults, {sum(map(len, plan.crashes.values()))} crash points",
        flush=True,
    )
    home = arguments.home or Path(tempfile.mkdtemp(prefix="ordermesh-chaos-"))
    home.mkdir(parents=True, exist_ok=True, mode=0o711)
    good = False
    try:
        report = asyncio.run(run(plan, home, lambda line: print(line, flush=True)))
        print(show(report))
        good = not (report.violations or report.unreached)
    finally:
        if good and arguments.home is None:
            shutil.rmtree(home)
        else:
            print(f"Data and logs are in {home}", flush=True)
    return 0 if good else 1


sys.exit(main())
