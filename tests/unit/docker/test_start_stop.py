"""Starting and stopping the containers of a service."""

import pytest

from tests.support.docker_errors import api_error
from tests.support.runs import FakeRun
from tests.unit.docker.beds import Case, Recorded, readiness
from tests.unit.docker.documents import identity
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.apply.start_stop import start_containers
from tutumd.errors import EngineRefusedError


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


def test_a_start_that_failed_stops_what_it_has_started() -> None:
    engine = Case(states=["running", "running"]).engine()
    journal = {"started": [identity(2)], "failed": "it failed", "log_tail": "bye"}
    outcome = start_containers(readiness(engine), engine.inspected(), Recorded(journal=journal))
    assert (outcome.reason, outcome.log_tail, outcome.rolled_back) == ("it failed", "bye", True)
    assert [entry[1] for entry in engine.summary().values()] == ["running", "exited"]
