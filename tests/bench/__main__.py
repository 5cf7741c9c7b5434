"""The command line of the benchmark; `script/bench` calls it with everything installed."""

import argparse
import json
import shutil
import signal
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from tests.bench import chart, report, soak
from tests.bench.plan import FULL, QUICK, Run
from tests.support.postgres_bed import missing_postgres

_DOCS = Path(__file__).parents[2] / "docs"
_PACKAGES = {"wrk": "wrk", "webhook": "webhook"}


def main() -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="script/bench", description="Measure the call path. Loopback only.")
    parser.add_argument("--quick", action="store_true", help="a short run, printed and not written to docs/")
    parser.add_argument(
        "--soak", type=float, metavar="MINUTES", help="measure memory under mixed load only, and print it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of this run to a file")
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
        if options.soak:
            samples = soak.measure(stack, options.soak * 60)
            _write_json(options.json, [asdict(one) for one in samples])
            print(soak.table(samples))
            return 0
        results = Run(QUICK if options.quick else FULL, stack).measure()
    _write_json(options.json, results.document())
    if not options.quick:
        _write_json(_DOCS / "benchmark.json", results.document())
        (_DOCS / "benchmark.svg").write_text(chart.draw(results))
        report.write(_DOCS / "benchmark.md", results)
    print(report.tables(results))
    return 0


def _write_json(path: Path | None, document: object) -> None:
    if path is not None:
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
