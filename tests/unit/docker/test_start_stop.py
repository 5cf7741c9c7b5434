"""Starting and stopping the containers of a service."""

import pytest

from tests.support.docker_errors import api_error
from tests.support.runs import FakeRun
from tests.unit.docker.beds import Case, context_of, every_kill, with_journal
from tests.unit.docker.documents import identity, image
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.apply.redeploy import start_containers
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome


def refuse(_container: str) -> None:
    raise api_error(500, "removing container from network: netavark was busy")


def test_a_container_that_has_stopped_counts_though_the_engine_reports_an_error() -> None:
    engine = FakeDocker()
    engine.add(1, "web")
    engine.on_stop = refuse
    engine.api.stop(identity(1), FakeRun())
    assert engine.all[identity(1)]["State"]["Status"] == "exited"


def test_a_container_that_goes_on_is_not_stopped() -> None:
    engine = FakeDocker()
    engine.add(1, "web")
    engine.refuse = "stop"
    with pytest.raises(EngineRefusedError, match="cannot stop the container web"):
        engine.api.stop(identity(1), FakeRun())


def test_a_start_that_fails_stops_what_it_has_started() -> None:
    case = Case(states=["running", "exited"], newest=image(0xA0, Crashes=True))

    def start(engine: FakeDocker, run: FakeRun) -> Outcome:
        return start_containers(context_of(engine, run), engine.inspected())

    for step, engine, outcome in every_kill(case.engine, start, with_journal, least=1):
        assert (outcome.success, outcome.rolled_back) == (False, True), step
        assert "shop-web-2 failed: it exited with 3" in outcome.reason, step
        assert [entry[1] for entry in engine.summary().values()] == ["running", "exited"], step
