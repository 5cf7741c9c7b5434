"""The promises of the port `Engine` about the time that a redeploy may take, for every engine.

The clock of a run jumps, so that nothing here depends on how fast the machine is.
"""

from typing import Any

import pytest

from tests.contract.engines.bed import Ability, EngineBed
from tests.contract.engines.verbs import ids, new_run, outcome_of, redeploy
from tests.support.runs import FakeRun
from tutumd.model import RunLimits

pytestmark = pytest.mark.every_engine


def endless(bed: EngineBed) -> dict[str, Any]:
    """Return the options of a redeploy that never gets ready, where a version can do that."""
    return dict(bed.release("unhealthy" if Ability.HEALTH in bed.abilities else "v2"))


@pytest.mark.slow
def test_a_redeploy_that_gets_further_may_take_longer_than_it_may_without_progress(bed: EngineBed) -> None:
    bed.create(2)
    passed: list[float] = []

    def let_time_pass(run: FakeRun) -> None:
        passed.append(0.75 * stall_s)  # of the least limit: while a node pulls, a longer one is in force
        run.skip(passed[-1])

    stall_s = 600.0
    options = {**bed.release("v2"), "deadline_s": 1e6, "stall_s": stall_s}
    run = new_run(bed, **options, on_progress=let_time_pass)
    outcome = outcome_of(bed, redeploy(bed), run)
    assert outcome.success, outcome
    assert sum(passed) > run.limits.stall_s
    assert bed.versions() == ["v2", "v2"]


@pytest.mark.slow
def test_a_redeploy_without_progress_is_put_back(bed: EngineBed) -> None:
    bed.create(2)
    old = ids(bed)
    progress: list[FakeRun] = []
    run: FakeRun = new_run(
        bed,
        **{**endless(bed), "deadline_s": 1e6, "stall_s": 600.0},
        on_progress=progress.append,
        on_sleep=lambda: run.skip(run.limits.stall_s if progress else 0),
    )
    outcome = outcome_of(bed, redeploy(bed), run)
    assert not outcome.success
    assert f"there was no progress for {run.limits.stall_s:g} s" in outcome.reason
    assert (bed.versions(), ids(bed)) == (["v1", "v1"], old)


@pytest.mark.slow
def test_a_redeploy_with_progress_ends_at_its_time_limit(bed: EngineBed) -> None:
    bed.create(2)
    old = ids(bed)
    options = {**endless(bed), "deadline_s": 700.0, "stall_s": 600.0}
    run = new_run(bed, **options, on_progress=lambda run: run.skip(750))
    outcome = outcome_of(bed, redeploy(bed), run)
    assert not outcome.success
    assert "the action did not end within 700 s" in outcome.reason
    assert (bed.versions(), ids(bed)) == (["v1", "v1"], old)


@pytest.mark.slow
def test_the_plan_and_the_log_show_the_limits_in_force(bed: EngineBed) -> None:
    bed.create(1)
    server = RunLimits()
    options = {**bed.release("v2"), "deadline_s": server.timeout_s, "stall_s": server.stall_s}
    planned = bed.engine().plan(bed.service, options.get("tag"))
    run = new_run(bed, **options)
    assert outcome_of(bed, redeploy(bed), run).success
    assert str(run.limits) in planned.notes
    assert str(run.limits) in run.lines
