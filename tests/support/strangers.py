"""Strangers: connections that send one request after the other, from a process of their own.

    python -m tests.support.strangers PORT CONNECTIONS FILE

FILE has the bytes of one request. A connection sends it, reads the response, and goes on, also after the server has
closed it, until the standard input ends. Then the number of responses is printed.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, cast

import uvloop


class Stranger(asyncio.Protocol):
    """One connection. It counts a response for each end of a head, and needs its length."""

    responses = 0
    tasks: ClassVar[set[asyncio.Task[None]]] = set()

    def __init__(self, port: int, raw: bytes) -> None:
        self._port, self._raw = port, raw
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._received = cast(asyncio.Transport, transport), b""  # uvloop's is no subclass
        self._transport.write(self._raw)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length or 0):
            Stranger.responses += 1
            self._received = b""
            if b"connection: close" not in head.lower():
                self._transport.write(self._raw)

    def connection_lost(self, exc: Exception | None) -> None:
        task = asyncio.ensure_future(self._connect_again())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _connect_again(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)
        except OSError:
            await asyncio.sleep(0.1)
            await self._connect_again()


async def _run(port: int, connections: int, raw: bytes) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Stranger(port, raw), "127.0.0.1", port)
    print("begun", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(Stranger.responses, flush=True)
    os._exit(0)  # at once: connections that are being opened again are no matter


@contextmanager
def strangers(port: int, connections: int, raw: bytes, folder: Path) -> Iterator[list[int]]:
    """Let strangers send a request again and again. The list gets the number of their responses at the end."""
    path, responses = folder / "request.bin", list[int]()
    path.write_bytes(raw)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.strangers", str(port), str(connections), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin is not None and program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        try:
            yield responses
        finally:
            program.stdin.close()
            responses.append(int(program.stdout.readline()))


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).read_bytes()))
