"""Latencies for one client that sends one request at a time: POST to the engine, and the handlers of a service."""

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

from tests.bench import programs
from tests.bench.fake_docker import FakeDocker
from tests.bench.programs import Program
from tests.bench.seed import Called
from tests.support.waiting import wait_until

_QUIET_S = 0.12


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


def _call_paths(connection: HTTPConnection, wanted: int) -> list[str]:
    listed = programs.ask(connection, "GET", "/api/v1/service/?limit=100")["objects"]
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
