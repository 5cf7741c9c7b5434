"""Reads from an engine that the server requests. Others than tutumd may have written their arguments."""

from contextlib import suppress
from dataclasses import asdict

from tutumd.errors import EngineRefusedError
from tutumd.model import EngineRequest, read_wanted
from tutumd.ports import Engine
from tutumd.worker.perform import plan
from tutumd.worker.trust import JournalSeal, trusted_image

MAX_LOG_LINES = 10_000
"""The maximum number that the API accepts."""

# The history has one more than its newest 20 at most.
_MAX_IMAGES = 21


def read_engine(engine: Engine, request: EngineRequest, seal: JournalSeal) -> dict[str, object]:
    """Return the response to a request, for the store."""
    service, arguments = request.service, request.arguments
    match request.kind:
        case "plan":
            given = arguments.get("image")
            image = trusted_image(read_wanted(given), service, seal) if given else None
            return {"plan": asdict(plan(engine, service, image))}
        case "images":
            listed, trusted = arguments["images"], []
            for each in listed[:_MAX_IMAGES] if isinstance(listed, list) else ():
                with suppress(EngineRefusedError):
                    trusted.append(trusted_image(read_wanted(each), service, seal))
            return {
                "images": {str(number): str(each) for number, each in engine.availability(service, trusted).items()}
            }
        case _:
            lines, after = int(str(arguments["lines"])), arguments.get("after")
            position = {str(key): str(value) for key, value in after.items()} if isinstance(after, dict) else None
            return {"logs": asdict(engine.logs(service, min(max(lines, 1), MAX_LOG_LINES), position))}
