"""A service and its containers: identical containers or processes that are redeployed and scaled together."""

from collections.abc import Callable, Iterator
from typing import Any

from tutum.client import FilterValue
from tutum.errors import TutumApiError
from tutum.resource import EditableResource, Resource
from tutum.responses import ApiResponse
from tutum.results import Accepted, Plan

FOLLOW_POLL_S = 2.0
_LONGEST_POLL_S = 5.0


class Service(EditableResource):
    """A service. Set attributes and `save`; `start`, `stop`, `redeploy`, `scale` and `delete` start an action.

    Attributes:
        target_num_containers: Number of containers that it should have.
        current_num_containers: Number of containers that it has, running or not.
        containers: Paths of its containers.
        container_envvars: List of {"key": ..., "value": ...}.
        warnings: Problems with its configuration, one sentence each.
        gone_since: Time since which its engine has not shown it: an ISO 8601 date; None while it does.
    """

    endpoint = "service"

    name: str = ""
    state: str = ""
    full_name: str = ""
    gone_since: str | None = None
    stack: str | None = None
    engine: str = ""
    image_name: str = ""
    target_num_containers: int = 0
    running_num_containers: int = 0
    deployed_datetime: str | None = None

    @property
    def shown_name(self) -> str:
        """The name for people, with its stack: `shop/web`."""
        return self.full_name or self.name

    def start(self) -> Accepted:
        """Start the containers."""
        return self._perform("POST", "start")

    def stop(self) -> Accepted:
        """Stop the containers."""
        return self._perform("POST", "stop")

    def redeploy(self) -> Accepted:
        """Replace the containers with new containers of the newest image."""
        return self._perform("POST", "redeploy")

    def plan(self) -> Plan:
        """Return what `redeploy` would do now. Nothing is done.

        Raises:
            TutumApiError: The engine did not respond, or another failure.
        """
        body = self._send("POST", "redeploy", params={"dry_run": 1}).body
        return Plan.of(body)

    def scale(self, target_num_containers: int | None = None) -> Accepted:
        """Start or stop containers until there are as many as the target says.

        Args:
            target_num_containers: The target; default: the target that was saved last.

        Raises:
            TutumApiError: The server refused.
        """
        if target_num_containers is not None:
            changed = self._perform("PATCH", body={"target_num_containers": target_num_containers})
            if changed.action_uri:
                # The change has started the action. A second action would hide the result of the first.
                return changed
        return self._perform("POST", "scale")

    def delete(self) -> Accepted:
        """Terminate the containers and remove the service. A service that is gone is removed immediately, without an
        action.
        """
        return self._perform("DELETE")

    def forget(self) -> bool:
        """Remove a service that is gone, and revoke its webhook handlers.

        Returns:
            True. A failure raises.

        Raises:
            TutumApiError: It is not gone, an action of it runs, or another failure.
        """
        self._send("POST", "forget")
        return True

    @property
    def logs(self) -> str:
        """The last output of the containers, fetched with each access."""
        return self.fetch_logs()

    def fetch_logs(self, tail: int | None = None, since: str | None = None) -> str:
        """Return the last output of the containers.

        Args:
            tail: Maximum number of lines of each container; default: as many as the server returns.
            since: Date in ISO 8601; older lines are left out. Services of the engine `local` have no times.

        Raises:
            TutumApiError: The server could not read the output.
        """
        body = self._send("GET", "logs", params={"tail": tail, "since": since}).body
        return str(body.get("logs") or "") if isinstance(body, dict) else ""

    def follow_logs(
        self,
        tail: int | None = None,
        since: str | None = None,
        *,
        on_failure: Callable[[TutumApiError], None] | None = None,
    ) -> Iterator[str]:
        """Yield the output of the containers, then what they write, without an end. Each text consists of whole lines.

        New containers are included. After the first response, a server or engine that does not respond is asked again.

        Args:
            tail, since: The start, as for `fetch_logs`.
            on_failure: Called when requests begin to fail. They are repeated until one succeeds.

        Raises:
            TutumApiError: The service is gone, you follow too many logs, or the first request failed.
        """
        params: dict[str, FilterValue] = {"tail": tail, "since": since}
        pause_s, is_admitted, is_failing = FOLLOW_POLL_S, False, False
        while True:
            try:
                body = self._send("GET", "logs", params=params).body
            except TutumApiError as error:
                if "after" not in params or not error.is_temporary or (error.status == 429 and not is_admitted):
                    raise
                if on_failure is not None and not is_failing:
                    on_failure(error)
                is_failing = True
            else:
                is_admitted, is_failing, params = "after" in params, False, {"after": body["next"]}
                if body["logs"]:
                    yield body["logs"]
                    pause_s = FOLLOW_POLL_S
            self.client.clock.sleep(pause_s)
            pause_s = min(pause_s * 1.2, _LONGEST_POLL_S)

    def _perform(self, method: str, *segments: str, body: Any = None) -> Accepted:
        response = self._send(method, *segments, body=body)
        # Some servers respond without the service. Unsaved changes are kept.
        if isinstance(response.body, dict) and response.body.get("uuid") == self.uuid and not self.is_dirty:
            self._load(response.body)
        return Accepted(action_uri=response.action_uri, body=response.body, client=self.client)

    def _send(self, method: str, *segments: str, **options: Any) -> ApiResponse:
        return self.client.send(method, self.endpoint, self.uuid, *segments, **options)


class Container(Resource):
    """One copy of a service. Read-only.

    Attributes:
        service: Path of its service.
        exit_code: None while it runs.
    """

    endpoint = "container"

    name: str = ""
