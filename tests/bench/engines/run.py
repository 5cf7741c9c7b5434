"""One run of redeploys: the engine, the server, and the rows in their order."""

import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.engines import cluster
from tests.bench.engines.results import CLUSTER_ROWS, Row
from tests.bench.engines.rows import ROWS, Stage
from tests.support.docker_bed import DockerBed
from tests.support.server import LiveServer

_ROUNDS, _QUICK_ROUNDS = 5, 2
_ALIAS_ROUNDS, _ALIAS_REQUESTS = 10, 3_000


def measure(
    names: Sequence[str], *, is_quick: bool, kubeconfig: Path | None, image: str
) -> tuple[dict[str, Any], dict[str, Row]]:
    """Measure the rows of these names, or all; return the machine and the rows.

    Args:
        is_quick: Two rounds, with the steps of each redeploy.
        kubeconfig: The cluster of the rows of kubernetes, which are left out without one.
        image: Of the services on the cluster.
    """
    rounds = _QUICK_ROUNDS if is_quick else _ROUNDS
    rows: dict[str, Row] = {}
    machine: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpus": os.cpu_count(),
        "python": f"Python {platform.python_version()}",
        "engine": "–",
        "load_before": os.getloadavg()[0],
        "rounds": rounds,
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tutumd-bench-")))
        wanted = [name for name in ROWS if name in names or not names]
        if wanted:
            bed = stack.enter_context(DockerBed("-bench"))
            machine["engine"] = bed.docker("version", "--format", "{{.Server.Version}}")
            (folder / "server").mkdir()
            options = ("--engine", "docker", "--engine", "swarm")
            server = stack.enter_context(LiveServer(folder / "server", *options, environment=bed.environment))
            stage = Stage(
                bed=bed,
                server=server,
                folder=folder,
                rounds=rounds,
                alias_rounds=rounds if is_quick else _ALIAS_ROUNDS,
                alias_requests=0 if is_quick else _ALIAS_REQUESTS,
                tell=_say if is_quick else _say_short,
            )
            rows |= {name: ROWS[name](stage) for name in wanted}
        if kubeconfig is not None and (not names or not CLUSTER_ROWS.isdisjoint(names)):
            (folder / "cluster").mkdir()
            tell = _say if is_quick else _say_short
            found = cluster.measure(kubeconfig, image, folder / "cluster", rounds, tell)
            rows |= {row.name: row for row in found}
    return machine, rows


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _say_short(text: str) -> None:
    """Leave out details, which are indented."""
    if not text.startswith(" "):
        _say(text)
