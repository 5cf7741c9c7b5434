"""Memory of a server: nothing that grows with the number of its threads and connections."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.server import LiveServer

_ARENA = 64 * 1024 * 1024


def test_many_threads_share_few_arenas(live_server: LiveServer) -> None:
    """Without a limit, glibc makes an arena for each thread, and keeps what the thread once used."""
    with ThreadPoolExecutor(20) as pool:
        paths = ["/api/v1/service/", "/api/v1/action/", "/readyz"] * 20
        assert {answer.status for answer in pool.map(lambda path: live_server.request("GET", path), paths)} == {200}
    for pid in (live_server.pid, live_server.worker.pid):
        assert len(_arenas(Path(f"/proc/{pid}/maps").read_text())) <= 1, "more than two with the main one"


def _arenas(maps: str) -> list[int]:
    """Return where arenas other than the main one begin: anonymous, aligned, and with the rest of 64 MiB reserved."""
    found = []
    previous = (0, 0, "")
    for line in maps.splitlines():
        area, mode, _, _, inode, *_ = line.split()
        start, end = (int(part, 16) for part in area.split("-"))
        is_reserve = mode == "---p" and inode == "0" and start == previous[1] and end % _ARENA == 0
        if is_reserve and previous[2] == "rw-p" and end - previous[0] == _ARENA:
            found.append(previous[0])
        previous = (start, end, mode)
    return found
