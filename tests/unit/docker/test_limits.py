"""A deadline that is near, and very many networks."""

import pytest

from tests.unit.docker.beds import Named, Recorded, context_of, finder, redeploy
from tutumd.engines.docker.apply.redeploy import redeploy as redeploy_service
from tutumd.model import Phase


class Timed(Recorded):
    """A run whose time passes by sleeping, and a little by looking."""

    def __init__(self, deadline_s: float) -> None:
        super().__init__()
        self.now = 0.0
        self.deadline_s = deadline_s

    def sleep(self, seconds: float) -> None:
        self.now += seconds + 0.01

    def clock(self) -> float:
        return self.now

    def remaining_s(self) -> float:
        return max(0.0, self.deadline_s - self.now)


def test_a_near_deadline_shortens_only_the_overlap() -> None:
    ends = {}
    for hundredths in range(400, 700, 3):
        engine, run = Named().engine(), Timed(hundredths / 100)
        outcome = redeploy_service(context_of(engine, run, drain_s=10, clock=run.clock), finder(engine))
        if not outcome.success:
            ends[hundredths] = outcome.reason
    assert ends == {}


@pytest.mark.parametrize("crashes", [False, True], ids=["there", "back"])
@pytest.mark.parametrize("in_swarm", [False, True], ids=["no node", "swarm node"])
@pytest.mark.parametrize("aliases", [["shop-web-1", "web"], ["web"]], ids=["with its name", "another"])
def test_a_container_may_be_in_many_networks(aliases: list[str], *, in_swarm: bool, crashes: bool) -> None:
    networks = {f"net{number}": {"Aliases": aliases} for number in range(40)}
    engine = Named(networks=networks, in_swarm=in_swarm).engine()
    before = engine.summary()
    (old,) = engine.all

    class Failing(Recorded):
        def log(self, line: str, phase: Phase | None = None) -> None:
            super().log(line, phase)
            if crashes and line.startswith("giving the old containers"):
                (new,) = engine.all.keys() - {old}
                engine.all[new]["State"]["Health"] = {"Status": "unhealthy"}

    outcome = redeploy(engine, Failing())
    if crashes:
        assert outcome.rolled_back, outcome
        assert "unhealthy" in outcome.reason
        assert engine.summary() == before
    else:
        assert outcome.success, outcome
    (only,) = engine.all.values()
    named = aliases if crashes or "shop-web-1" in aliases else [*aliases, "shop-web-1"]
    assert only["NetworkSettings"]["Networks"] == {network: {"Aliases": named} for network in networks}
