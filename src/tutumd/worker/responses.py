"""Responses to requests for logs and plans: a bounded number at once, apart from the runs."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

import structlog

from tutumd.errors import TutumdError
from tutumd.model import EngineRequest
from tutumd.ports import Engine, Queue
from tutumd.worker.parking import Parking
from tutumd.worker.perform import plan
from tutumd.worker.slots import Slots

INTERNAL_ERROR = "internal error: see the server's log"
MAX_RESPONSES = 16
"""Responses at once. A request that waits longer than 10 s gets a 504 from the edge."""

_PER_ENGINE = 4
_log = structlog.get_logger(__name__)


class Responder:
    """Answers requests from the queue."""

    def __init__(self, queue: Queue, engines: Mapping[str, Engine], parkings: Mapping[str, Parking]) -> None:
        self._queue = queue
        self._engines = engines
        self._parkings = parkings
        self._slots: Slots[str] = Slots(engines, per_engine=_PER_ENGINE, in_all=MAX_RESPONSES, on_free=queue.wake)

    def respond(self) -> None:
        """Respond at once to requests for parked engines, and begin to respond to others while slots are free."""
        parked = [name for name, parking in self._parkings.items() if parking.reason]
        while requests := self._queue.take_requests([*self._slots.free(), *parked], limit=1):
            request, engine_name = requests[0], requests[0].service.engine
            if engine_name in parked:
                self._save(request, {"error": f"the engine is away: {self._parkings[engine_name].reason}"})
            else:
                self._slots.start(engine_name, request.uuid, partial(self._answer, request))

    def _answer(self, request: EngineRequest, _: str) -> None:
        response: dict[str, object]
        try:
            engine = self._engines[request.service.engine]
            if request.kind == "plan":
                response = {"plan": asdict(plan(engine, request.service))}
            else:
                lines = request.arguments.get("lines")
                response = {"logs": engine.logs(request.service, lines if isinstance(lines, int) else 100)}
        except TutumdError as error:
            response = {"error": str(error)}
        except Exception:
            _log.exception("engine request failed", kind=request.kind, service=request.service.name)
            response = {"error": INTERNAL_ERROR}
        self._save(request, response)

    def _save(self, request: EngineRequest, response: Mapping[str, object]) -> None:
        try:
            self._queue.save_response(request.uuid, response)
        except TutumdError as error:
            _log.warning("response was not stored", kind=request.kind, error=str(error))
