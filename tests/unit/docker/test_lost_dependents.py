"""Dependents of a container whose redeploy died together with the database."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.runs import Killed
from tests.unit.docker.documents import ALWAYS, NO
from tests.unit.docker.test_resume import NEW, Recorded, RunOfAnotherAction, redeploy
from tests.unit.docker.test_resume_start_first import with_neighbours

NAMES = ("shop-web-1", "sidecar", "linker")


@pytest.mark.parametrize("policy", [ALWAYS, NO], ids=["restarted", "not restarted"])
@pytest.mark.parametrize("stopped", [None, "sidecar"], ids=["running", "one of them stopped"])
def test_a_lost_database_does_not_lose_dependents(policy: Mapping[str, Any], stopped: str | None) -> None:
    for step in itertools.count(1):
        engine = with_neighbours()
        for raw in engine.all.values():
            raw["HostConfig"]["RestartPolicy"] = dict(policy)
            if raw["Name"] == f"/{stopped}":
                raw["State"].update(Status="exited", FinishedAt=raw["State"]["StartedAt"])
        states = {name: state for name, (_, state, _, _) in engine.summary().items()}
        try:
            redeploy(engine, Recorded(kill_at=step))
        except Killed:
            outcome = redeploy(engine, RunOfAnotherAction())
        else:
            break
        assert outcome.success, (step, outcome)
        after = engine.summary()
        assert set(after) == set(NAMES), (step, after)
        for name, (_, state, restarts, image_id) in after.items():
            assert (restarts, image_id) == (policy["Name"], NEW), (step, name, after)
            assert (state == "running") is (states[name] == "running"), (step, name, after)
        mode = engine.all[after["sidecar"][0]]["HostConfig"]["NetworkMode"]
        assert mode == f"container:{after['shop-web-1'][0]}", step
    assert step > 15
