"""Many services on many engines whose runs take 1 s each: how long one redeploy of all takes."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

from tests.bench import claims, programs
from tests.bench.programs import Program
from tests.bench.slow_engines import RUN_S
from tests.support.waiting import wait_until

ENGINES = 20
DEAD = ("slow-0", "slow-1")
_MAX_RUNS = 64
"""Actions at once of one worker, by default."""


def measure(stack: ExitStack, folder: Path, services: int) -> dict[str, float]:
    """Redeploy all services, first with all engines, then with two dead ones; divide by the ideal."""
    folder.mkdir()
    file = folder / "tutumd.db"
    database = f"sqlite:///{file}"
    web = programs.start_tutumd(stack, folder, database, how="web")
    beside = folder / "worker"
    beside.mkdir()
    arguments = (database, str(folder / "data"), str(ENGINES), str(services))
    programs.start_module(stack, "tests.bench.slow_engines", *arguments, folder=beside, beside=web)
    with closing(HTTPConnection("127.0.0.1", web.port, timeout=20)) as connection:
        wait_until(lambda: _count(connection) == services, "the engines' services are listed")
        paths = _call_paths(connection)
    alive = _redeploy_all(web, paths, file)
    (folder / "data" / "dead").touch()
    return {"services": services, "ratio": alive, "ratio_two_dead": _redeploy_all(web, paths, file, DEAD)}


def _redeploy_all(web: Program, paths: Sequence[str], file: Path, dead: Sequence[str] = ()) -> float:
    """Call all handlers, wait until the living services are redeployed, and divide the time by the ideal."""
    engines = ENGINES - len(dead)
    ideal_s = len(paths) * engines / ENGINES * RUN_S / min(_MAX_RUNS, claims.SLOTS * engines)
    begin = time.time()
    with closing(HTTPConnection("127.0.0.1", web.port, timeout=20)) as connection:
        for path in paths:
            programs.request(connection, "POST", path)
    limit_s = 30 + 10 * ideal_s
    wait_until(lambda: claims.count_live(file, dead) == 0, "all services are redeployed", limit_s, pause_s=0.2)
    return (max(one.ended for one in claims.read(file, since=begin) if one.ended is not None) - begin) / ideal_s


def _count(connection: HTTPConnection) -> int:
    return int(programs.ask(connection, "GET", "/api/v1/service/?limit=1")["meta"]["total_count"])


def _call_paths(connection: HTTPConnection) -> list[str]:
    paths: list[str] = []
    link: str | None = "/api/v1/service/?limit=100"
    while link:
        page = programs.ask(connection, "GET", link)
        for service in page["objects"]:
            path = f"{service['resource_uri']}webhook/handler/"
            paths.append(programs.ask(connection, "POST", path, {"operation": "REDEPLOY"})["url"])
        link = page["meta"]["next"]
    return paths
