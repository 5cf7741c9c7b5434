"""A service: one or more identical containers or processes that are redeployed and scaled together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from tutum.call_result import Accepted, accepted
from tutum.client import Client
from tutum.errors import TutumApiError
from tutum.plan import Plan
from tutum.resource import Resource


class Service(Resource):
    """A service. Set attributes and `save`; `start`, `stop`, `redeploy`, `scale` and `delete` begin an action.

    Attributes:
        target_num_containers: How many containers it should have.
        current_num_containers: How many it has, running or not.
        containers: Paths of its containers.
        container_envvars: List of {"key": ..., "value": ...}.
        warnings: What is wrong with its configuration, one sentence each.
    """

    endpoint = "service"

    name: str = ""
    state: str = ""
    stack: str | None = None
    engine: str = ""
    owner: str | None = None
    image: str | None = None
    image_name: str = ""
    image_digest: str | None = None
    run_command: str | None = None
    working_dir: str | None = None
    container_envvars: Sequence[Any] = ()
    autorestart: str | None = None
    containers: Sequence[str] = ()
    target_num_containers: int = 0
    current_num_containers: int = 0
    running_num_containers: int = 0
    deployed_datetime: str | None = None
    warnings: Sequence[str] = ()

    @classmethod
    def create(cls, *, client: Client | None = None, **fields: Any) -> Self:
        """Return a new local service; `save` sends it.

        Args:
            fields: Such as name, image, run_command, target_num_containers.
        """
        return cls(client=client, **fields)

    def save(self) -> bool:
        """Create the service, or send the attributes that were set since it was fetched.

        Returns:
            True; there is an exception when it fails.

        Raises:
            TutumApiError: The server refused.
        """
        if self.uuid and not self.is_dirty:
            return True
        changes = {name: getattr(self, name) for name in sorted(self._changed)}
        if self.uuid:
            answer = self.client.send("PATCH", self.endpoint, self.uuid, body=changes)
        else:
            answer = self.client.send("POST", self.endpoint, body=changes)
        self._load(answer.body)
        return True

    def start(self) -> Accepted:
        """Start the containers."""
        return self._perform("start")

    def stop(self) -> Accepted:
        """Stop the containers."""
        return self._perform("stop")

    def redeploy(self) -> Accepted:
        """Replace the containers with new ones of the newest image."""
        return self._perform("redeploy")

    def plan(self) -> Plan:
        """Ask what `redeploy` would do now. Nothing is done.

        Raises:
            TutumApiError: The engine did not answer, or the server is too old to know plans.
        """
        answer = self.client.send("POST", self.endpoint, self._saved_uuid(), "redeploy", params={"dry_run": 1})
        if not isinstance(answer.body, dict) or "possible" not in answer.body:
            raise TutumApiError("the server does not know dry_run: it may have begun a redeploy")
        return Plan.of(answer.body)

    def scale(self, target_num_containers: int | None = None) -> Accepted:
        """Bring the number of containers to a target.

        Args:
            target_num_containers: The target; default: the one that was saved last.

        Raises:
            TutumApiError: The server refused.
        """
        if target_num_containers is not None:
            changes = {"target_num_containers": target_num_containers}
            answer = self.client.send("PATCH", self.endpoint, self._saved_uuid(), body=changes)
            self._take(answer.body)
            if answer.action_uri:
                # The change has begun the action already; asking for another would hide how this one ends.
                return accepted(answer, self.client)
        return self._perform("scale")

    def delete(self) -> Accepted:
        """Terminate the containers and forget the service."""
        answer = self.client.send("DELETE", self.endpoint, self._saved_uuid())
        self._take(answer.body)
        return accepted(answer, self.client)

    @property
    def logs(self) -> str:
        """The last output of the containers, fetched when it is read."""
        return self.fetch_logs()

    def fetch_logs(self, tail: int | None = None) -> str:
        """Fetch the last output of the containers.

        Args:
            tail: How many lines of each container; default: as many as the server gives.

        Raises:
            TutumApiError: The server could not get it.
        """
        body = self.client.send("GET", self.endpoint, self._saved_uuid(), "logs", params={"tail": tail}).body
        return str(body.get("logs") or "") if isinstance(body, dict) else ""

    def _perform(self, operation: str) -> Accepted:
        answer = self.client.send("POST", self.endpoint, self._saved_uuid(), operation)
        self._take(answer.body)
        return accepted(answer, self.client)

    def _take(self, body: Any) -> None:
        # Not every server answers with the service; and what was set but not saved stays.
        if isinstance(body, dict) and body.get("uuid") == self.uuid and not self.is_dirty:
            self._load(body)

    def _saved_uuid(self) -> str:
        if not self.uuid:
            raise TutumApiError("save the service before this operation")
        return self.uuid
