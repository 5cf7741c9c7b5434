"""Calls that wait for the end of their action: thousands at once, and longer than a proxy waits by default."""

import asyncio
import resource
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.server import Answer, LiveServer, request
from tests.support.waiting import wait_until


def post(port: int, path: str) -> Answer:
    return request(port, "POST", path, headers={}, limit_s=300)


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
