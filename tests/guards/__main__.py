"""`script/guards`: takes each guard out in a copy of the repository, and checks that its test misses it."""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.guards.guard import choose, read_guards
from tests.guards.proof import Proof, passes, prove


def main() -> int:
    """Prove guards; return the number of those without a proof."""
    parser = argparse.ArgumentParser(prog="script/guards", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="guards to take out; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="copies at once; default: 2")
    parser.add_argument("--list", action="store_true", help="only list the guards")
    options = parser.parse_args()
    try:
        guards = choose(read_guards(), options.names)
    except ValueError as error:
        print(f"script/guards: {error}", file=sys.stderr)
        return 2
    if options.list:
        for guard in guards:
            print(f"{guard.kind:<22} {guard.name:<28} {guard.file}")
        return 0
    began = time.monotonic()
    if output := passes([guard.test for guard in guards]):
        print(f"{output}\nscript/guards: the tests must pass before a guard is taken out", file=sys.stderr)
        return 1
    with ThreadPoolExecutor(options.jobs) as pool:
        proofs = []
        for proof in pool.map(prove, guards):
            print(_row(proof), flush=True)
            proofs.append(proof)
    left = [proof.guard.name for proof in proofs if not proof.missed]
    print(
        f"{len(proofs) - len(left)} of {len(proofs)} guards are missed by their test, {time.monotonic() - began:.0f} s"
    )
    if left:
        print(f"script/guards: nothing misses {', '.join(left)}", file=sys.stderr)
    return int(bool(left))


def _row(proof: Proof) -> str:
    mark = "missed" if proof.missed else "NOT MISSED"
    test = proof.guard.test.rpartition("::")[2]
    return f"{mark:<10} {proof.guard.kind:<20} {proof.guard.name:<28} {test}: {proof.reason[:160]}"


if __name__ == "__main__":
    sys.exit(main())
