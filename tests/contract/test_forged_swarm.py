"""Rows that a `web` which was taken over could write, on a real Swarm: no command, no other image, no other service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.forged_support import TakenOver, taken_over
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.rollout.journal import Stage
from tutumd.errors import EngineRefusedError
from tutumd.model import Verb
from tutumd.worker.journal_seal import JournalSeal

APP = f"{ANONYMOUS}/app"
DEFINITION = {"command": "id", "envvars": {}, "working_dir": "", "autorestart": "OFF"}
VERBS = ((Verb.REDEPLOY, None), (Verb.SCALE, 3), (Verb.SCALEUP, 3), (Verb.START, None), (Verb.STOP, None))
REDEPLOY: dict[str, Any] = {
    "before": {"TaskTemplate": {"ContainerSpec": {"Image": "app:v2"}, "ForceUpdate": 0}, "Tagged": None},
    "image": "app:v2",
    "config": {"Parallelism": 1, "Delay": 0, "Monitor": 0, "Order": "stop-first"},
    "platforms": None,
    "status_before": {},
    "running_before": [],
    "result": None,
}


@pytest.fixture(scope="module")
def host(docker_bed: DockerBed) -> Iterator[DockerBed]:
    """A swarm with the service `web`, and with `hidden`, which is to be ignored."""
    docker_bed.push("app", "v1")
    swarm.create(docker_bed, "web", APP, "--label", "tutum.scale.max=2", replicas=1)
    swarm.create(docker_bed, "hidden", "app:v1", "--label", "tutum.ignore=true", replicas=0)
    yield docker_bed
    docker_bed.clean()


@pytest.fixture
def rows(host: DockerBed, tmp_path: Path) -> Iterator[TakenOver]:
    """The rows of its services. Afterwards `hidden` is as it was."""
    before = swarm.spec(host, "hidden")
    with swarm.opened(host) as engine, taken_over(tmp_path, engine) as made:
        yield made
    assert swarm.spec(host, "hidden") == before


def test_rows_change_no_service_beyond_what_a_handler_may(host: DockerBed, rows: TakenOver) -> None:
    before = swarm.spec(host, "web")
    for stage in Stage:
        rows.write_action("web", journal={**REDEPLOY, "stage": stage.value})
        reason = rows.perform().reason
        assert reason.startswith("another version of tutumd, or a worker with another key, began this action"), stage
    for inputs in ({"variables": {"LD_PRELOAD": "/evil.so"}}, {"tag": "80/evil/app:v1"}):
        rows.write_action("web", **inputs)
        assert rows.perform().reason.startswith("refused: the tag or a variable")
    for verb in (Verb.SCALE, Verb.SCALEUP):
        rows.write_action("web", verb, target=3)
        assert "at most 2" in (reason := rows.perform().reason), reason
    assert swarm.spec(host, "web") == before


def test_a_row_cannot_lead_to_a_service_that_is_to_be_ignored(host: DockerBed, rows: TakenOver) -> None:
    rows.write_service("web", selector="hidden", definition=DEFINITION)
    for verb, target in VERBS:
        for journal in ({}, {"stage": "order"}):
            rows.write_action("web", verb, target=target, journal=journal)
            assert not rows.perform().success, (verb, journal)
    hidden = swarm.service("hidden")
    with swarm.opened(host) as engine:
        for use in (lambda: engine.logs(hidden, 10), lambda: engine.redeploy(hidden, FakeRun())):
            with pytest.raises(EngineRefusedError, match=r"hidden is left as it is: it has the label tutum\.ignore"):
                use()
        assert "tutum.ignore" in engine.plan(hidden, None).refused


@pytest.mark.slow
def test_a_worker_with_another_key_leaves_the_update_to_the_engine_and_says_so(
    host: DockerBed, rows: TakenOver
) -> None:
    host.push("app", "v2")
    rows.write_action("web")
    rows.perform_until(lambda stored: isinstance(stored, str) and stored.startswith("probing the new image"))
    outcome = rows.perform(JournalSeal(b"the key of another worker"))
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason.endswith("the service was left as it is; check what it runs, then redeploy it")
    assert set(host.docker("service", "ls", "--format", "{{.Name}}").split()) == {"web", "hidden"}, "no probe is left"
    rows.write_action("web")
    assert rows.perform().success
    wait_until(lambda: swarm.running(host, "web") == ["v2"], "the next redeploy works")
