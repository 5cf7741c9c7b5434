"""The shared engine: a process of its own whose containers outlive it, for any number of workers at once.

    python -m tests.faults.engine_process SOCKET JOURNAL SEED

It answers one JSON request per connection. A call that changes something takes a while before it is carried out, and a
while until it is answered, so that a kill can come before, between and after.
"""

import json
import random
import socketserver
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.faults.journal import ASKED, BEGIN, DONE, END, Entry, read_entries, replay

SLOWEST_S = 0.02
_ALLOWANCE_S = 60.0


class SharedEngineState:
    """The containers, and the journal that they are rebuilt from at the next start."""

    def __init__(self, journal: Path, seed: int) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._containers = replay(read_entries(journal))
        _cut_half_line(journal)
        self._journal = journal.open("a", buffering=1)
        self.revision = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out a request: `list`, `revision`, a note of a run, or a call that changes something."""
        kind = request.pop("kind")
        if kind == "list":
            with self._lock:
                return {"services": self._containers.services}
        if kind == "revision":
            return {"revision": self.revision}
        if kind in (BEGIN, END):
            self._write(kind, request)
            return {}
        self._write(ASKED, request)
        self._take_time()
        entry = self._write(DONE, request)
        self._take_time()
        return {"at": entry.at}

    def close(self) -> None:
        self._journal.close()

    def _write(self, kind: str, request: dict[str, Any]) -> Entry:
        with self._lock:
            entry = Entry(at=time.monotonic(), kind=kind, **request)
            self._journal.write(entry.line())
            if kind == DONE:
                self._containers.apply(entry)
                self.revision += 1
            return entry

    def _take_time(self) -> None:
        with self._lock:
            pause_s = self._random.random() * SLOWEST_S
        time.sleep(pause_s)


class _Handler(socketserver.StreamRequestHandler):
    timeout = _ALLOWANCE_S

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line.endswith(b"\n"):
            return  # whoever asked was killed in the middle of it
        assert isinstance(self.server, _Server)
        answer = self.server.state.answer(json.loads(line))
        try:
            self.wfile.write(json.dumps(answer).encode() + b"\n")
        except OSError:
            return  # whoever asked is gone: what was asked for is done all the same


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: str, state: SharedEngineState) -> None:
        super().__init__(path, _Handler)
        self.state = state


def _cut_half_line(journal: Path) -> None:
    if journal.exists():
        content = journal.read_bytes()
        journal.write_bytes(content[: content.rfind(b"\n") + 1])


def main(path: str, journal: str, seed: str) -> None:
    """Serve until killed."""
    Path(path).unlink(missing_ok=True)
    with _Server(path, SharedEngineState(Path(journal), int(seed))) as server:
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
