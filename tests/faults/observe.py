"""Observation of a bed through the API."""

from tests.faults.api import Api
from tests.faults.bed import SERVICES, Bed
from tests.faults.callers import Hook
from tests.faults.evidence import Delivery
from tests.support.waiting import wait_until

Actions = dict[str, tuple[str, str]]
_SCALE_S = 60.0


class Observer:
    """Creates the handlers of a bed, and reads the results of calls."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._uuids = {service["name"]: service["uuid"] for service in bed.api.every("/api/v1/service/")}
        self.hooks = {
            f"/api/v1/service/{self._uuids[service]}/webhook/handler/": self._make_hooks(service)
            for service in SERVICES
        }
        self._known: set[str] = set()

    @property
    def api(self) -> Api:
        return self._bed.api

    def scale_back(self, containers: int) -> None:
        """Bring every service to so many containers, and wait until it is."""
        for uuid in self._uuids.values():
            self.api.send("PATCH", f"/api/v1/service/{uuid}/", {"target_num_containers": containers})
        wait_until(
            lambda: set(self.shown().values()) == {(containers, containers)} and self.count_live() == 0,
            f"every service has {containers} containers; see {self._bed.folder}",
            _SCALE_S,
        )

    def count_live(self) -> int:
        """Count the actions that have not ended."""
        states = ("Pending", "In%20progress")
        return sum(self.api.count(f"/api/v1/action/?state={state}&limit=1") for state in states)

    def shown(self) -> dict[str, tuple[int, int]]:
        """Read the target and the running containers of each service."""
        return {
            service["name"]: (service["target_num_containers"], service["running_num_containers"])
            for service in self.api.every("/api/v1/service/")
        }

    def new_deliveries(self) -> list[Delivery]:
        """Read the deliveries that no earlier call of this has read."""
        found = []
        for path, hooks in self.hooks.items():
            for uuid, hook in hooks.items():
                found += self._new_deliveries(f"{path}{uuid}/delivery/", hook)
        self._known.update(delivery.agent for delivery in found)
        return found

    def actions(self, uris: set[str]) -> Actions:
        """Read state and reason of actions."""
        found: Actions = {}
        for action in self.api.every("/api/v1/action/"):
            if action["resource_uri"] in uris:
                found[action["resource_uri"]] = (action["state"], action["reason"])
            if len(found) == len(uris):
                break
        return found

    def _new_deliveries(self, path: str, hook: Hook) -> list[Delivery]:
        found = []
        for row in self.api.every(path):  # newest first
            if row["user_agent"] in self._known:
                break
            if row["outcome"] == "repeated":
                continue  # nginx sent it to the other replica, too: it causes nothing
            delivery = Delivery(
                agent=row["user_agent"],
                service=hook.service,
                operation=hook.operation,
                amount=row["amount"],
                action=row["action"],
            )
            found.append(delivery)
        return found

    def _make_hooks(self, service: str) -> dict[str, Hook]:
        path = f"/api/v1/service/{self._uuids[service]}/webhook/handler/"
        hooks = {}
        for operation in ("REDEPLOY", "SCALEUP"):
            made = self.api.send("POST", path, {"name": operation.lower(), "operation": operation}).json
            hooks[made["uuid"]] = Hook(service=service, operation=operation, path=made["url"])
        return hooks
