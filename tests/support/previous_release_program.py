"""Program that uses a database with the code of d238f91, which PYTHONPATH names. Usage: `… DATABASE_URL`.

It reads commands, one JSON value a line: the name of a method of `PreviousRelease`, and its arguments. It prints what
it returns. As the type checker knows another tutumd, modules are imported as values of any type.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module
from queue import SimpleQueue
from typing import Any

model: Any = import_module("tutumd.model")
database: Any = import_module("tutumd.store.database")
store: Any = import_module("tutumd.store.store")
intake: Any = import_module("tutumd.store.intake")
queue: Any = import_module("tutumd.store.queue")
signal: Any = import_module("tutumd.store.signal")

START = datetime(2026, 1, 1, tzinfo=UTC)
ORIGIN = model.Origin(address="127.0.0.1", user_agent="test")
ENGINE = model.EngineInfo(name="docker", kind="docker", creates=False)


class PreviousRelease:
    """An edge and a worker of that release."""

    def __init__(self, url: str) -> None:
        self.now = START
        self.database = database.Database(url)
        parts = (self.database, lambda: self.now, signal.Signal())
        self.store, self.intake, self.queue = store.SqlStore(*parts), intake.SqlIntake(*parts), queue.SqlQueue(*parts)
        self.claims: dict[str, Any] = {}

    def create(self) -> None:
        """Make the schema, an admin, an engine and two services in an empty database."""
        self.database.migrate()
        self.store.add_user("admin", is_admin=True)
        self.queue.register("worker", [ENGINE])
        shown = [
            model.ServiceSnapshot(selector=f"name:{name}", name=name, target=2, image_name="app:latest", containers=())
            for name in ("web", "db")
        ]
        self.queue.sync(ENGINE, shown)

    def add_handler(self, service: str, operation: str, options: dict[str, Any]) -> tuple[str, str]:
        """Return the UUIDs of the service and the new handler."""
        admin = self.store.users()[0]
        services = self.store.services(admin, model.Query(filters={"name": service}, limit=1)).objects
        new = model.NewHandler(operation=model.Operation(operation), options=options)
        return services[0].uuid, self.store.add_handlers(admin, services[0].uuid, [new])[0].uuid

    def call(self, service_uuid: str, handler_uuid: str, calls: list[dict[str, Any]]) -> list[str]:
        """Make calls in one batch, and return their actions. Arguments of Judged are below `inputs`."""
        batch = [
            model.Call(
                service_uuid=service_uuid,
                handler_uuid=handler_uuid,
                amount=call.get("amount", 1),
                origin=ORIGIN,
                body_size=0,
                key=call.get("key"),
                judged=model.Judged(version=0, **call["inputs"]) if "inputs" in call else None,
                asks="inputs" in call,
            )
            for call in calls
        ]
        results: SimpleQueue[Any] = SimpleQueue()
        self.intake.store(batch, results.put)
        return [result.action_uuid for result in results.get(timeout=120)]

    def claim(self) -> dict[str, Any] | None:
        """Claim an action, and return its inputs."""
        claim = self.queue.claim("worker of d238f91", ["docker"], lease=timedelta(seconds=10))
        if claim is None:
            return None
        self.claims[claim.action.uuid] = claim
        return {
            "action": claim.action.uuid,
            "amounts": self.queue.amounts(claim),
            "tag": claim.action.tag,
            "variables": dict(claim.action.variables),
        }

    def finish(self, action_uuid: str, success: bool) -> None:
        """End a claimed action."""
        self.queue.finish(self.claims.pop(action_uuid), model.Outcome(success=success), None)

    def retry(self, action_uuid: str) -> str:
        """Return the action that repeats another."""
        return str(self.store.retry(self.store.users()[0], action_uuid, ORIGIN).uuid)


def main() -> None:
    """Perform commands until the input ends."""
    release = PreviousRelease(sys.argv[1])
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(release, name)(*arguments)), flush=True)
    release.intake.close()


main()
