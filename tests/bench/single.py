"""Latencies for one client that sends one request at a time: POST to engine and answer, and handlers."""

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path

from tests.bench import claims, load, programs, seed
from tests.bench.fake_docker import FakeDocker
from tests.bench.load import USUAL, Target
from tests.bench.programs import Program
from tests.bench.seed import Called, Size
from tests.support.waiting import wait_until

_QUIET_S = 0.12
_WARM_S = 1.0
_OTHERS = 1_000


def measure_idle(stack: ExitStack, folder: Path, calls: int) -> dict[str, float]:
    """Measure how long it takes from sending a POST to the first request that the engine gets, on an idle server.

    Each call is for another service, of an engine that shows them and refuses the redeploy.
    """
    engine = FakeDocker(folder / "docker.sock", containers=calls)
    stack.callback(engine.close)
    database = f"sqlite:///{folder / 'idle.db'}"
    server = programs.start_tutumd(stack, folder, database, "--engine", f"docker:{engine.url}")
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        paths = wait_until(lambda: _call_paths(connection, calls), "the engine's services are listed")
        millis, answered = [], []
        for path in paths:
            engine.wait_quiet(_QUIET_S, timeout_s=5)
            began = time.monotonic()
            programs.request(connection, "POST", path)
            answered.append((time.monotonic() - began) * 1e3)
            millis.append((engine.wait_asked(began, timeout_s=10) - began) * 1e3)
    return {
        "answered_p50_ms": statistics.median(answered),
        "engine_p50_ms": statistics.median(millis),
        "engine_p90_ms": statistics.quantiles(millis, n=10)[-1],
    }


def measure_loaded(stack: ExitStack, folder: Path, *, containers: int, seconds: int) -> dict[str, float]:
    """Measure, while other handlers of the server are called at full load, the waits of one more caller.

    Each of its calls is for a service of an engine on which the redeploy fails at once: the time until the run asks
    the engine, and the time from the action's end until the call with `?wait=` is answered.
    """
    folder.mkdir()
    engine = FakeDocker(folder / "docker.sock", containers=containers)
    stack.callback(engine.close)
    file = folder / "tutumd.db"
    others = folder / "paths"
    called = seed.fill(f"sqlite:///{file}", Size(services=_OTHERS, handlers=_OTHERS, deliveries=0))
    others.write_text("".join(f"{one.path}\n" for one in called))
    server = programs.start_tutumd(stack, folder, f"sqlite:///{file}", "--engine", f"docker:{engine.url}")
    target = Target(name="", ports=(server.port,), paths=(others,))
    asks, answers = [], {}
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        names = [f"app-{number}" for number in range(1, containers + 1)]
        found = wait_until(lambda: _call_paths(connection, containers, names), "the engine's services are listed")
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load.call, target, connections=USUAL, seconds=seconds)
            time.sleep(_WARM_S)
            for path in cycle(found):
                began = time.monotonic()
                connection.request("POST", f"{path}?wait=30")
                asked = engine.wait_run(began, timeout_s=30)
                answer = connection.getresponse()
                answer.read()
                if loading.done():
                    break
                asks.append(asked - began)
                answers[answer.headers["X-Tutum-Action-Uri"].split("/")[-2]] = time.time()
            calls_per_s = loading.result().calls_per_s
    ended = {one.uuid: one.ended for one in claims.read(file) if one.ended is not None}
    late = [moment - ended[uuid] for uuid, moment in answers.items()]
    return {
        "samples": len(asks),
        "calls_per_s": calls_per_s,
        "engine_p50_ms": statistics.median(asks) * 1e3,
        "engine_p99_ms": claims.p99(asks) * 1e3,
        "wait_p50_ms": statistics.median(late) * 1e3,
        "wait_p99_ms": claims.p99(late) * 1e3,
    }


def _call_paths(connection: HTTPConnection, wanted: int, names: Sequence[str] = ()) -> list[str]:
    pages = [f"/api/v1/service/?name={name}" for name in names] or ["/api/v1/service/?limit=100"]
    listed = [service for page in pages for service in programs.ask(connection, "GET", page)["objects"]]
    if len(listed) < wanted:
        return []
    paths = [f"{service['resource_uri']}webhook/handler/" for service in listed]
    made = [programs.ask(connection, "POST", path, {"operation": "REDEPLOY"}) for path in paths]
    return [handler["url"] for handler in made]


def measure_handlers(server: Program, called: list[Called], times: int) -> dict[str, float]:
    """Measure listing, reading and creating handlers, each of another service in turn; medians in milliseconds."""
    step = max(1, len(called) // times)
    some = called[::step][:times]
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:

        def p50(send: Callable[[Called], object]) -> float:
            millis = []
            for one in some:
                began = time.monotonic()
                send(one)
                millis.append((time.monotonic() - began) * 1e3)
            return statistics.median(millis)

        def folder(one: Called) -> str:
            return f"/api/v1/service/{one.service_uuid}/webhook/handler/"

        body = {"name": "new", "operation": "REDEPLOY"}
        return {
            "list_p50_ms": p50(lambda one: programs.request(connection, "GET", folder(one))),
            "get_p50_ms": p50(lambda one: programs.request(connection, "GET", f"{folder(one)}{one.handler_uuid}/")),
            "create_p50_ms": p50(lambda one: programs.request(connection, "POST", folder(one), body)),
            "list_services_p50_ms": p50(lambda one: programs.request(connection, "GET", "/api/v1/service/?limit=25")),
        }
