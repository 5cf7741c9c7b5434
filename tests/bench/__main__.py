"""The command line of the benchmark; `script/bench` calls it with everything installed."""

import argparse
import json
import shutil
import signal
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from tests.bench import report, soak
from tests.bench.engines import report as engine_report
from tests.bench.engines import results as engine_results
from tests.bench.engines import run as engine_run
from tests.bench.engines.rows import ROWS
from tests.bench.plan import FULL, QUICK, Run
from tests.support.machine import missing_packages
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
    parser.add_argument(
        "--engines", action="store_true", help="measure redeploys beside the engines' own commands only"
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"with --engines: {', '.join(ROWS)}; default: all")
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="with --engines: measure on this cluster, too")
    parser.add_argument(
        "--image", default="busybox:stable", help="with --kubeconfig: image with busybox that the cluster can pull"
    )
    parser.add_argument("--missing", action="store_true", help="print the Debian packages that are missing, and end")
    options = parser.parse_args()
    missing = _missing_packages(options.engines)
    if options.missing:
        print(" ".join(missing))
        return 0
    if missing:
        print(f"script/bench needs: apt-get install --no-install-recommends {' '.join(missing)}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if options.engines:
        return _measure_engines(options)
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
        report.write(_DOCS / "benchmark.md", report.tables(results))
    print(report.tables(results))
    return 0


def _measure_engines(options: argparse.Namespace) -> int:
    known = [*ROWS, *sorted(engine_results.CLUSTER_ROWS)]
    if unknown := set(options.rows).difference(known):
        print(f"unknown rows {', '.join(sorted(unknown))}: choose from {', '.join(known)}", file=sys.stderr)
        return 2
    kubeconfig = options.kubeconfig and options.kubeconfig.absolute()
    machine, rows = engine_run.measure(options.rows, is_quick=options.quick, kubeconfig=kubeconfig, image=options.image)
    document, tables = engine_results.document(machine, rows), engine_report.tables(machine, rows)
    _write_json(options.json, document)
    if not options.quick and not options.rows:
        _write_json(_DOCS / "benchmark-engines.json", document)
        report.write(_DOCS / "benchmark-engines.md", tables)
    print(tables)
    return 0


def _missing_packages(engines: bool) -> list[str]:
    if engines:
        return missing_packages("docker") + missing_packages("nginx")
    missing = [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
    return [*missing, "postgresql"] if missing_postgres() else missing


def _write_json(path: Path | None, document: object) -> None:
    if path is not None:
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
