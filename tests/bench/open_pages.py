"""What open pages cost the calls: calls per second with 200 open pages, as a share of those without.

    .venv/bin/python -m tests.bench.open_pages [--rounds 10] [--seconds 5]

Each page is that of another service, and all services are called, so that each page has running work. As browsers do,
a page asks for its changes every 2 s, and for the running actions every 5 s, with the tag of what it shows. Rounds with
and without pages take turns.
"""

import argparse
import asyncio
import random
import re
import statistics
import sys
import tempfile
from collections import Counter
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from functools import partial
from html import unescape
from pathlib import Path
from threading import Thread

from tests.bench import load, programs, seed
from tests.support.pages import Visitor

PAGES = 200
SIZE = seed.Size(services=PAGES, handlers=2_000, deliveries=0)
_PAGE_S, _CORNER_S = 2.0, 5.0


class OpenPages:
    """Pages that are open in browsers, on an event loop of their own. `statuses` counts the responses."""

    def __init__(self, visitor: Visitor, port: int, paths: list[str]) -> None:
        """Load the pages, each with the tag of its live part."""
        self._port = port
        self._cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        self._tags = {path: _find_tags(visitor.get(path).html) for path in paths}
        self.statuses: Counter[int] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)

    def __enter__(self) -> "OpenPages":
        self._thread.start()
        self._asking = asyncio.run_coroutine_threadsafe(self._ask_all(), self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        self._asking.cancel()
        with suppress(CancelledError):
            self._asking.result()
        self._loop.call_soon_threadsafe(self._loop.call_later, 0.2, self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _ask_all(self) -> None:
        asked = [
            part
            for page, (tag, corner_tag) in self._tags.items()
            for part in ((page, tag, _PAGE_S), ("/running/", corner_tag, _CORNER_S))
        ]
        await asyncio.gather(*(self._ask_again(*part) for part in asked))

    async def _ask_again(self, path: str, tag: str, every_s: float) -> None:
        await asyncio.sleep(random.random() * every_s)
        while True:  # the server ends connections that are idle
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    await self._ask_on(path, tag, every_s, reader, writer)
            finally:
                writer.close()

    async def _ask_on(
        self, path: str, tag: str, every_s: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nHX-Request: true\r\nAccept: text/html\r\nCookie: {self._cookie}"
            writer.write(f"{head}\r\nIf-None-Match: {tag}\r\n\r\n".encode())
            status, headers = await self._read_head(reader)
            await reader.readexactly(int(headers.get("content-length", 0)) if status != 304 else 0)
            self.statuses[status] += 1
            tag = headers.get("etag", tag)
            await asyncio.sleep(every_s)

    async def _read_head(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(": ") for line in lines if line)
        return int(first.split(" ")[1]), {name.lower(): value for name, _, value in pairs}


def _find_tags(html: str) -> tuple[str, str]:
    """Return the tags of a page's live part and of its corner."""
    found = re.findall('data-etag="([^"]*)"', html)
    assert len(found) == 2, f"the page has {len(found)} tags"
    return unescape(found[0]), unescape(found[1])


def main() -> int:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.open_pages", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = f"sqlite:///{folder / 'tutumd.db'}"
        called = seed.fill(database, SIZE)
        server = programs.start_tutumd(stack, folder, database)
        paths = folder / "paths"
        paths.write_text("".join(f"{one.path}\n" for one in called))
        target = load.Target(name="calls", ports=(server.port,), paths=(paths,))
        services = list(dict.fromkeys(one.service_uuid for one in called))[:PAGES]
        pages = [f"/service/{uuid}/" for uuid in services]
        visitor, alone, beside = Visitor(f"http://127.0.0.1:{server.port}"), list[float](), list[float]()
        visitor.sign_in(programs.USER, programs.KEY)
        open_pages = partial(OpenPages, visitor, server.port, pages)
        statuses: Counter[int] = Counter()
        load.call(target, connections=load.USUAL, seconds=2)
        for _ in range(options.rounds):
            alone.append(load.call(target, connections=load.USUAL, seconds=options.seconds).calls_per_s)
            with open_pages() as opened:
                load.call(target, connections=load.USUAL, seconds=3)  # what was saved up for rendering is used up
                beside.append(load.call(target, connections=load.USUAL, seconds=options.seconds).calls_per_s)
            statuses += opened.statuses
            print(f"{alone[-1]:.0f} {beside[-1]:.0f} {dict(opened.statuses)}", flush=True)
    ratios = [with_pages / without for with_pages, without in zip(beside, alone, strict=True)]
    print(f"calls/s: {statistics.median(alone):.0f} alone, {statistics.median(beside):.0f} beside {PAGES} pages")
    print(f"median ratio {statistics.median(ratios):.3f}; responses to pages: {dict(statuses)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
