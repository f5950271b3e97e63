"""`python -m teeth [name...]`: switch each protection off in turn and print who notices. Exit code 0 when each is caught.

A name chooses the teeth that begin with it.
"""

import argparse
import sys
import time

from teeth.run import Verdict, bite, unchanged
from teeth.table import TEETH, StaleTooth, Tooth


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m teeth", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="(default: all)")
    names = parser.parse_args().names
    chosen = [tooth for tooth in TEETH if not names or tooth.name.startswith(tuple(names))]
    if not chosen:
        parser.error(f"no tooth begins with that; there are: {', '.join(tooth.name for tooth in TEETH)}")
    if failure := unchanged(chosen):
        print(failure, "These tests fail with every protection on: they can catch nothing.", sep="\n")
        return 1
    caught = sum(_tried(tooth) for tooth in chosen)
    print(f"caught {caught} / {len(chosen)}")
    return 0 if caught == len(chosen) else 1


def _tried(tooth: Tooth) -> bool:
    """Prints the tooth's line, and pytest's words where it was not caught."""
    began = time.monotonic()
    try:
        bitten = bite(tooth)
    except StaleTooth as stale:
        print(f"{'stale':<8}{stale}", flush=True)
        return False
    print(f"{bitten.verdict:<8}{tooth.name:<36}{time.monotonic() - began:>4.0f} s  {tooth.what}")
    for test in dict.fromkeys(test.partition("[")[0] for test in bitten.by):
        print(f"{'':<8}by {test.rpartition('::')[2]}")
    if bitten.verdict is not Verdict.CAUGHT:
        print(f"imported: {bitten.imported}", bitten.output, sep="\n")
    sys.stdout.flush()
    return bitten.verdict is Verdict.CAUGHT


sys.exit(main())
