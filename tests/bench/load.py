"""The load generator: `wrk`, from this machine, over loopback."""

import json
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("call.lua")
BODY = '{"push_data": {"tag": "latest", "pusher": "ci"}, "repository": {"repo_name": "example/app"}}'
CONNECTIONS = (1, 32, 256)
USUAL = 32
"""The number of connections that the targets speak of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Target of the calls.

    Attributes:
        ports: Of its replicas; each is called by a thread of its own.
        paths: Files with the paths to call in turn, one a line; a tab and a header, `Name: value`, may follow. Each
            run uses the next file.
        connections: The numbers of connections that it is called with.
    """

    name: str
    ports: tuple[int, ...]
    paths: tuple[Path, ...]
    connections: tuple[int, ...] = CONNECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Result of one run of the load generator. `failed` counts statuses from 400 on, and broken connections."""

    requests: int
    calls_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def call(target: Target, *, connections: int, seconds: int, run: int = 0) -> Load:
    """Call a target as fast as it responds: each connection sends its next call after the last response."""
    threads = min(connections, len(target.ports))
    done = subprocess.run(
        [
            *("wrk", "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s"),
            *("-s", str(_SCRIPT), f"http://127.0.0.1:{target.ports[0]}/", "--"),
            *(str(target.paths[run % len(target.paths)]), BODY),
            *[str(port) for port in target.ports],
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert found, f"wrk told no result: {done.stdout[-500:]} {done.stderr[-500:]}"
    told = json.loads(found[0].removeprefix("RESULT "))
    return Load(
        requests=told["requests"],
        calls_per_s=told["requests"] / told["seconds"],
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        failed=told["refused"] + told["broken"],
    )


def middle(loads: Sequence[Load]) -> Load:
    """Combine several runs: the median of each figure, the sum of each count."""
    return Load(
        requests=sum(load.requests for load in loads),
        calls_per_s=statistics.median(load.calls_per_s for load in loads),
        p50_ms=statistics.median(load.p50_ms for load in loads),
        p99_ms=statistics.median(load.p99_ms for load in loads),
        failed=sum(load.failed for load in loads),
    )
