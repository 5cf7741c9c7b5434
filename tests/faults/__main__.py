"""Fault rounds against real processes: see script/faults."""

import argparse
import random
import sys
import traceback

from tests.faults.bed import Bed
from tests.faults.faults import draw, possible
from tests.faults.rounds import Rounds
from tests.support import guards, nginx_bed
from tests.support.postgres_bed import missing_postgres

KINDS = ("sqlite", "postgresql")
MOST_ROUNDS = 1000


def play(kind: str, rounds: int, seed: int) -> bool:
    """Play rounds on one database and print each; return whether every promise held."""
    bed = Bed(kind, seed)
    held = False
    try:
        bed.start()
        played = Rounds(bed, seed)
        if kind == "sqlite" and not bed.can_fill:
            print("sqlite: the fault 'fill disk' is SKIPPED: mounting a small disk needs root", flush=True)
        if kind == "postgresql" and not bed.has_proxy:
            print(f"postgresql: rounds through a proxy are SKIPPED: {nginx_bed.MISSING}", flush=True)
        held = True
        drawn = draw(possible(bed), random.Random(f"{seed} {kind}"))
        for number, fault in zip(range(1, rounds + 1), drawn, strict=False):
            report = played.play(number, fault)
            print(report.text(), flush=True)
            held = held and not report.violations
    except Exception:  # noqa: BLE001 (whatever it is, the evidence is kept and the other database is tried)
        held = False
        traceback.print_exc()
    finally:
        if not held:
            print(f"{kind}: logs and the engine's journal were kept in {bed.keep_evidence()}", flush=True)
        bed.close()
    return held


def main() -> int:
    """Read the command line and play."""
    parser = argparse.ArgumentParser(prog="script/faults", description="Break things under load; prove the promises.")
    parser.add_argument("--rounds", type=int, default=8, help="on each database; default 8")
    parser.add_argument("--seed", type=int, default=None, help="the same seed draws the same faults; default: any")
    parser.add_argument("--database", choices=[*KINDS, "both"], default="both")
    options = parser.parse_args()
    if not 1 <= options.rounds <= MOST_ROUNDS:
        parser.error(f"--rounds must be 1 to {MOST_ROUNDS}")
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    kinds = KINDS if options.database == "both" else (options.database,)
    if "postgresql" in kinds and (missing := missing_postgres()):
        print(f"script/faults: {missing}", file=sys.stderr)
        return 2
    guards.end_on_sigterm()
    print(f"{options.rounds} rounds on each of {', '.join(kinds)}, seed {seed}", flush=True)
    held = [play(kind, options.rounds, seed) for kind in kinds]
    print("every promise held" if all(held) else f"VIOLATED: see above; repeat with --seed {seed}", flush=True)
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
