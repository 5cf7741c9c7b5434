"""Calls that wait for the end of their action: thousands at once, and longer than a proxy waits by default."""

import asyncio
import resource
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.nginx_bed import nginx
from tests.support.server import Answer, LiveServer, request
from tests.support.waiting import wait_until


def post(port: int, path: str) -> Answer:
    return request(port, "POST", path, headers={}, limit_s=300)


@pytest.mark.slow
@pytest.mark.nginx
def test_a_proxy_waits_as_long_as_a_call(live_server: LiveServer, tmp_path: Path) -> None:
    slow = live_server.run_service(f"proxied-{uuid.uuid4()}", "trap 'sleep 4; exit' TERM; while :; do sleep 0.1; done")
    url = f"{live_server.make_handler(slow)['url']}?wait=240"
    webs = (live_server.port, live_server.port)
    with nginx(tmp_path / "impatient", webs, read_timeout_s=1) as port:
        given_up = post(port, url)
        assert (given_up.status, given_up.headers["retry-after"]) == (503, "1"), "the directive is what decides"
    with nginx(tmp_path / "nginx", webs) as port:
        waited = post(port, url)
        assert (waited.status, waited.json["state"]) == (200, "Success"), waited
        over = post(port, f"{live_server.make_handler(slow, debounce=3600)['url']}?wait=1")
        assert (over.status, over.json["state"]) == (504, "Pending"), "our own 504 is passed on, with its body"
        assert live_server.request("POST", f"{over.headers['x-tutum-action-uri']}cancel/").status == 202


async def wait_beside(server: LiveServer, path: str, count: int, meanwhile: Callable[[], None]) -> list[int]:
    """Make calls that wait, over a connection each, do something once all of them do, and return their statuses."""

    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return int(answer.split()[1])

    calls = []
    for _ in range(count):
        calls.append(asyncio.ensure_future(one()))
        await asyncio.sleep(0.001)
    await asyncio.to_thread(meanwhile)
    return await asyncio.gather(*calls)


def test_callers_wait_on_when_their_handler_is_revoked(live_server: LiveServer) -> None:
    """Two of them until the action ends, and one until its own time is over."""
    service = live_server.create_service(f"revoked-{uuid.uuid4()}")
    handler = live_server.make_handler(service["uuid"], debounce=3600)
    deliveries = f"{handler['resource_uri']}delivery/?limit=1"
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(post, live_server.port, f"{handler['url']}?wait={wait}") for wait in (240, 240, 2)]
        wait_until(lambda: live_server.request("GET", deliveries).json["meta"]["total_count"] == 3, "all wait")
        assert live_server.request("DELETE", handler["resource_uri"]).status == 204
        over = waiting[2].result()
        assert (over.status, over.json["state"]) == (504, "Pending")
        action = over.headers["x-tutum-action-uri"]
        assert live_server.request("POST", f"{action}cancel/").status == 202
        for answer in (each.result() for each in waiting[:2]):
            assert (answer.status, answer.json["state"]) == (502, "Canceled")
            assert answer.headers["x-tutum-action-uri"] == action
    asked = request(live_server.port, "GET", over.json["status_url"], headers={})
    assert (asked.status, asked.json["state"]) == (200, "Canceled")


@pytest.mark.slow
def test_thousands_wait_at_once_without_a_thread_each_and_others_are_not_held_up(live_server: LiveServer) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    slow = live_server.create_service(f"waited-for-{uuid.uuid4()}")["uuid"]
    handler = live_server.make_handler(slow, debounce=3600)
    other = live_server.make_handler(live_server.run_service(f"not-held-up-{uuid.uuid4()}"))
    count = min(2000, most - 200)

    def look() -> None:
        deliveries = f"{handler['resource_uri']}delivery/?limit=1"
        try:
            wait_until(lambda: live_server.request("GET", deliveries).json["meta"]["total_count"] == count, "all wait")
            status = Path(f"/proc/{live_server.pid}/status").read_text()
            threads = int(status.partition("Threads:")[2].split()[0])
            assert threads < 100
            assert live_server.post(other["url"]).status == 202
        finally:
            for action in live_server.request("GET", f"/api/v1/action/?object={slow}").json["objects"]:
                live_server.request("POST", f"{action['resource_uri']}cancel/")

    # 504 to whom the end was told too late, so nobody was answered before the other call.
    assert asyncio.run(wait_beside(live_server, f"{handler['url']}?wait=240", count, look)) == [502] * count
