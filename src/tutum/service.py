"""A service and its containers: identical containers or processes that are redeployed and scaled together."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from tutum.client import FilterValue
from tutum.errors import TutumApiError
from tutum.resource import EditableResource, Resource
from tutum.responses import ApiResponse
from tutum.results import Accepted, Plan, ServiceImage

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
        is_held: Whether its redeploys wait for the end of a hold.
        held_until: End of the hold: an ISO 8601 date; None if it lasts until `resume`, or if there is none.
        hold_reason, held_by: Reason of the hold, and who set it.
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
    is_held: bool = False

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

    def redeploy(self, *, override: bool = False) -> Accepted:
        """Replace the containers with new containers of the newest image.

        Args:
            override: Start also while the service is held or frozen. This needs a key with the scope `operate`.
        """
        return self._perform("POST", "redeploy", params={"override": 1} if override else None)

    def plan(self) -> Plan:
        """Return what `redeploy` would do now. Nothing is done.

        Raises:
            TutumApiError: The engine did not respond, or another failure.
        """
        return Plan.of(self._send("POST", "redeploy", params={"dry_run": 1}).body)

    def rollback(self, image: int | str | None = None, *, hold: bool = True, reason: str = "") -> Accepted:
        """Replace the containers with new containers of an image that the service ran before.

        Args:
            image: Number or digest of an image of `images`. None: the image that ran before the present one.
            hold: Hold the service afterwards, so that the next call does not redeploy it.
            reason: Reason of the rollback and of the hold, for people.

        Raises:
            TutumApiError: There is no such image, it runs already, or another failure.
        """
        return self._perform("POST", "rollback", body={"image": image, "hold": hold, "reason": reason})

    def plan_rollback(self, image: int | str | None = None) -> Plan:
        """Return what `rollback` would do now. Nothing is done. Raises as `rollback` and `plan`."""
        return Plan.of(self._send("POST", "rollback", params={"dry_run": 1}, body={"image": image}).body)

    def images(self) -> list[ServiceImage]:
        """Return the images that the service ran, newest first."""
        return [ServiceImage.of(fields) for fields in self.client.pages(self.endpoint, self.uuid, "image")]

    def hold(self, until: datetime | str | None = None, reason: str = "") -> bool:
        """Hold the redeploys of the service. They are accepted, and wait.

        Args:
            until: A date, or a span such as `4h`. None: until `resume`.
            reason: Reason for people.

        Returns:
            True. A failure raises.
        """
        self._perform("POST", "hold", body={"until": until, "reason": reason})
        return True

    def resume(self) -> bool:
        """End the hold of the service. If redeploys were held, one redeploy starts for all of them.

        Returns:
            True. A failure raises.
        """
        self._perform("DELETE", "hold")
        return True

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
        return str(self._send("GET", "logs", params={"tail": tail, "since": since}).body["logs"])

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

    def _perform(self, method: str, *segments: str, **options: Any) -> Accepted:
        response = self._send(method, *segments, **options)
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
