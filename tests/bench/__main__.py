"""The command line of the benchmark; `script/bench` calls it with everything installed."""

import argparse
import json
import shutil
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.bench import chart, report
from tests.bench.plan import FULL, QUICK, Run
from tests.support.postgres_bed import missing_postgres

_DOCS = Path(__file__).parents[2] / "docs"
_PACKAGES = {"wrk": "wrk", "webhook": "webhook"}


def main() -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="script/bench", description="Measure the call path. Loopback only.")
    parser.add_argument("--quick", action="store_true", help="a short run, printed and not written to docs/")
    parser.add_argument("--missing", action="store_true", help="print the Debian packages that are missing, and end")
    options = parser.parse_args()
    missing = [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
    if missing_postgres():
        missing.append("postgresql")
    if options.missing:
        print(" ".join(missing))
        return 0
    if missing:
        print(f"script/bench needs: apt-get install --no-install-recommends {' '.join(missing)}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ExitStack() as stack:
        results = Run(QUICK if options.quick else FULL, stack).measure()
    if not options.quick:
        (_DOCS / "benchmark.json").write_text(json.dumps(results.document(), indent=2, ensure_ascii=False) + "\n")
        (_DOCS / "benchmark.svg").write_text(chart.draw(results))
        report.write(_DOCS / "benchmark.md", results)
    print(report.tables(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
