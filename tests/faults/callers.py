"""Stream of calls: threads that call handlers and record the responses."""

import http.client
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.faults.api import CREDENTIALS
from tests.support.server import request

LIMIT_S = 120.0
LONGEST_PAUSE_S = 0.8
SCALE_UPS = 0.2
"""Which part of the calls scales up."""
MOST = 3
READ = "READ"
"""Not a call, but a look at the list of services: it may be refused as a call may."""
READS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A webhook handler to call."""

    service: str
    operation: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call and its response.

    Attributes:
        agent: Its User-Agent, by which its delivery is found.
        sent: Monotonic time before it was sent.
        is_sent: False where no connection came about, so that nothing can have arrived.
        status: None where no whole answer came.
        action: What X-Tutum-Action-URI said.
    """

    agent: str
    service: str
    operation: str
    amount: int
    sent: float
    is_sent: bool = True
    status: int | None = None
    has_retry_after: bool = False
    action: str = ""
    detail: str = ""


_LOOK = Hook(service="", operation=READ, path="/api/v1/service/")


class Callers:
    """Threads that call random handlers at random web replicas until they are stopped."""

    def __init__(self, name: str, hooks: Sequence[Hook], ports: Sequence[int], seed: int, threads: int = 5) -> None:
        self._name = name
        self._hooks = {op: [h for h in hooks if h.operation == op] for op in ("REDEPLOY", "SCALEUP")}
        self._ports = list(ports)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.calls: list[Call] = []
        self._threads = [
            threading.Thread(target=self._call_for_ever, args=(number, random.Random(f"{seed} {number}")), daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Call]:
        """End, after the pending responses."""
        self._stop.set()
        for thread in self._threads:
            thread.join(LIMIT_S + 5)
            assert not thread.is_alive(), "a call did not end within its limit"
        return self.calls

    def _call_for_ever(self, thread: int, chance: random.Random) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            call = self._call_once(f"{self._name} {thread}-{number}", chance)
            with self._lock:
                self.calls.append(call)
            # Half of the calls follow at once: bursts are what is committed together.
            self._stop.wait(chance.choice((0.0, chance.uniform(0, LONGEST_PAUSE_S))))

    def _call_once(self, agent: str, chance: random.Random) -> Call:
        port = chance.choice(self._ports)
        if chance.random() < READS:
            return make_call(port, _LOOK, 0, agent)
        operation = "SCALEUP" if chance.random() < SCALE_UPS else "REDEPLOY"
        amount = chance.randint(1, MOST) if operation == "SCALEUP" else 1
        return make_call(port, chance.choice(self._hooks[operation]), amount, agent)


def make_call(port: int, hook: Hook, amount: int, agent: str) -> Call:
    """Call a handler once and record the response."""
    method, path = "POST", hook.path if hook.operation == "REDEPLOY" else f"{hook.path}{amount}/"
    headers = {"User-Agent": agent}
    if hook.operation == READ:
        method, path = "GET", hook.path
        headers["Authorization"] = CREDENTIALS
    unanswered = Call(agent=agent, service=hook.service, operation=hook.operation, amount=amount, sent=time.monotonic())
    try:
        answer = request(port, method, path, headers=headers, limit_s=LIMIT_S)
    except ConnectionRefusedError as error:
        return replace(unanswered, is_sent=False, detail=str(error))
    except (OSError, http.client.HTTPException) as error:
        return replace(unanswered, detail=repr(error))
    return replace(
        unanswered,
        status=answer.status,
        has_retry_after="retry-after" in answer.headers,
        action=answer.headers.get("x-tutum-action-uri", ""),
        detail="" if answer.status < 300 else answer.body.decode(errors="replace")[:200],
    )
