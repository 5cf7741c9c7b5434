"""Responses of the engine while a service is read and while a probe starts, and what a probe leaves behind."""

from dataclasses import asdict, replace
from typing import Any, cast

import docker.errors
import pytest
import requests

from tests.support.docker_errors import api_error, response
from tests.support.runs import FakeRun
from tests.unit.swarm.values import NEW, PLAN, spec
from tutumd.engines.labels import parse_reference
from tutumd.engines.rollout.driver import carry_out
from tutumd.engines.rollout.journal import Stage
from tutumd.engines.rollout.timing import StaleError, Timing
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.context import ServiceContext
from tutumd.engines.swarm.images import is_built_here, placement_platforms
from tutumd.engines.swarm.new_tasks import probe_name, start_probe
from tutumd.engines.swarm.plan import RedeployJournal
from tutumd.engines.swarm.redeploy import Redeploy
from tutumd.errors import EngineRefusedError, EngineUnavailableError

TIMING = Timing(clock=lambda: 0.0, jitter=lambda: 0.0, stable_s=0.0, poll_s=0.0)


class FakeClient:
    """A manager with the service `web`, which may refuse to show a service, and to create one."""

    def __init__(self, *, trouble: docker.errors.APIError | None = None, create_status: int = 201) -> None:
        self.trouble_of = {} if trouble is None else {"web": trouble}
        self.create_status = create_status
        self.names = ["web"]
        self.image_trouble: docker.errors.APIError | None = None
        self.removed: list[str] = []

    def inspect_service(self, name: str) -> Any:
        if name not in self.names:
            raise api_error(404, f"service {name} not found")
        shown = {**spec(), "Name": name, "Labels": {"tutum.action": FakeRun().action_uuid}}
        return {"ID": f"id-{name}", "Spec": shown, "Version": {"Index": 1}}

    def inspect_image(self, name: str) -> Any:
        raise self.image_trouble or api_error(404, f"no such image: {name}")

    def services(self) -> Any:
        return [self.inspect_service(name) for name in self.names]

    def tasks(self, filters: Any = None) -> Any:
        name = filters["service"].removeprefix("id-") if filters else "web"
        if name in self.trouble_of:
            raise self.trouble_of[name]
        return []

    def nodes(self) -> Any:
        return []

    def remove_service(self, name: str) -> None:
        self.removed.append(name)
        if name not in self.names:
            raise api_error(404, f"service {name} not found")
        self.names.remove(name)

    def _url(self, path: str, *names: str) -> str:
        return path.format(*names)

    def _post_json(self, address: str, data: Any, headers: Any) -> requests.Response:
        return response(self.create_status)

    def _raise_for_status(self, response: requests.Response) -> None:
        if response.status_code >= 400:
            raise api_error(response.status_code, "no such network")


def api_of(client: FakeClient) -> SwarmApi:
    return SwarmApi(cast(Any, client), None)


def test_a_service_that_cannot_be_read_now_is_not_refused() -> None:
    api = api_of(FakeClient(trouble=api_error(500, "rpc error: code = Unknown")))
    with pytest.raises(EngineUnavailableError, match="cannot inspect the service web: rpc error"):
        api.view("web")
    with pytest.raises(EngineUnavailableError, match="cannot list the services of the swarm: rpc error"):
        api.views()
    with pytest.raises(EngineRefusedError):
        api_of(FakeClient(trouble=api_error(400, "bad filter"))).view("web")


def test_an_image_that_cannot_be_read_now_is_no_reason_to_leave_an_update_half_done() -> None:
    client = FakeClient()
    client.image_trouble = api_error(500, "layer store is locked")
    run = FakeRun(journal=asdict(replace(PLAN, before=specs.stored_parts(spec(NEW)))))
    with pytest.raises(EngineUnavailableError, match="layer store is locked"):
        carry_out(Redeploy(context_of(client, run)), RedeployJournal)


def test_a_change_by_another_client_at_the_same_moment_is_logged_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, conflicts = FakeRun(), [StaleError("changed")]
    context = context_of(FakeClient(), run)

    def update(*arguments: object) -> None:
        if conflicts:
            raise conflicts.pop()

    monkeypatch.setattr(context.api, "update", update)
    context.change(lambda view: dict(view.spec))
    assert run.lines.count("the service changed at the same moment: trying again") == 1


def test_a_service_whose_name_is_taken_is_not_created() -> None:
    api_of(FakeClient(create_status=409)).create(spec(), {})
    with pytest.raises(EngineRefusedError, match="cannot create the service web: no such network"):
        api_of(FakeClient(create_status=400)).create(spec(), {})


def context_of(client: FakeClient, run: FakeRun) -> ServiceContext:
    return ServiceContext(api=api_of(client), name="web", run=run, timing=TIMING)


def test_a_probe_that_the_engine_refuses_leaves_nothing_behind() -> None:
    run = FakeRun(journal=asdict(replace(PLAN, stage=Stage.PROBE)))
    name = probe_name("web", run.action_uuid)
    client = FakeClient()
    client.names.append(name)
    client.trouble_of[name] = api_error(400, "bad filter")
    with pytest.raises(EngineRefusedError, match=f"cannot inspect the service {name}: bad filter"):
        carry_out(Redeploy(context_of(client, run)), RedeployJournal)
    assert (client.names, client.removed) == (["web"], [name])


def test_a_probe_that_appears_after_our_look_is_used() -> None:
    run = FakeRun()
    client = FakeClient(create_status=409)
    start_probe(context_of(client, run), spec(), "web-trial")
    client.create_status = 400
    with pytest.raises(EngineRefusedError, match="no such network"):
        start_probe(context_of(client, run), spec(), "web-trial")


class DoubledClient(FakeClient):
    """A manager that completed an update with two tasks in one place, and removes one at the next update."""

    def __init__(self, updated: dict[str, Any]) -> None:
        super().__init__()
        self.spec, self.state, self.slots = updated, "completed", [1, 2, 2]

    def inspect_service(self, name: str) -> Any:
        return {**super().inspect_service(name), "Spec": self.spec, "UpdateStatus": {"State": self.state}}

    def tasks(self, filters: Any = None) -> Any:
        shared = {"Spec": self.spec["TaskTemplate"], "Status": {"State": "running"}, "DesiredState": "running"}
        return [
            {**shared, "ID": f"n{number}", "Slot": slot, "CreatedAt": "2026-01-01T00:00:00Z"}
            for number, slot in enumerate(self.slots)
        ]

    def _post_json(self, address: str, data: Any, headers: Any, params: Any = None) -> requests.Response:
        self.spec, self.slots = data, [1, 2]
        return response(200)


def test_a_task_too_many_after_a_completed_update_is_removed_and_not_waited_for() -> None:
    config = {"Order": "start-first", "Delay": 0}
    client = DoubledClient(specs.redeploy_spec(spec(), PLAN.new, config, None, {}, {}))
    run: FakeRun = FakeRun(journal=asdict(replace(PLAN, config=config)), on_sleep=lambda: run.skip(20))
    outcome = carry_out(Redeploy(context_of(client, run)), RedeployJournal)
    assert (outcome.success, outcome.containers_after) == (True, ("n0", "n1")), outcome.reason
    assert "UpdateConfig" not in client.spec


@pytest.mark.parametrize(
    ("digests", "built"),
    [
        (None, True),
        ([], True),
        (["host:5000/app@sha256:" + "9" * 64], False),
        (["host:5000/other@sha256:" + "9" * 64], True),
        (["host:5000/app@sha256:" + "a" * 64], True),
    ],
)
def test_an_image_that_a_registry_knows_was_not_built_here(digests: list[str] | None, built: bool) -> None:
    image = {"Id": "sha256:" + "a" * 64, "RepoDigests": digests}
    assert is_built_here(image, parse_reference("host:5000/app:latest")) is built


def test_arm_matches_any_architecture() -> None:
    platforms = [("linux", "arm"), ("linux", "amd64")]
    assert placement_platforms(platforms) == (
        {"Architecture": "", "OS": "linux"},
        {"Architecture": "amd64", "OS": "linux"},
    )
