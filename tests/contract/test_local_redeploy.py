"""Options of a redeploy of the engine `local`: variables, a tag, or only a plan."""

import os
import signal
from dataclasses import replace

import pytest

from tests.contract.engines.verbs import watching
from tests.contract.local_support import PATIENT_S, LocalHost
from tests.support.waiting import wait_until
from tutumd.engines.local.engine import NO_ROLLBACK
from tutumd.engines.local.records import definition_digest
from tutumd.errors import EngineRefusedError
from tutumd.model import Autorestart, Plan, RunLimits, WantedImage

BODY = "TUTUM_TRIGGER_BODY"
VARIABLES = {BODY: '{"a": "b=c"}\n', "GONE": None}


def variables_of(host: LocalHost) -> set[tuple[str | None, str | None, str | None]]:
    return {
        (environment.get(BODY), environment.get("GONE"), environment.get("KEPT"))
        for environment in host.processes().values()
    }


@pytest.mark.slow
def test_variables_stay_for_restarts_scale_ups_and_starts_until_the_next_redeploy(host: LocalHost) -> None:
    service = host.service(target=1, envvars={"GONE": "1", "KEPT": "1"}, autorestart=Autorestart.ALWAYS)
    engine = host.engine()
    engine.start(service, host.run())
    digest = host.shown(engine).image_digest
    assert engine.redeploy(service, host.run(variables=VARIABLES)).success
    wanted = {(VARIABLES[BODY], None, "1")}
    assert variables_of(host) == wanted
    assert host.shown(engine).image_digest == digest
    engine = host.engine()  # a restarted server
    assert engine.scale(service, 2, host.run()).success
    assert (variables_of(host), len(host.pids())) == (wanted, 2)
    old = min(host.pids())
    with watching(engine):
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: len(host.pids() - {old}) == 2, "the restart")
    assert variables_of(host) == wanted
    engine.stop(service, host.run())
    engine.start(service, host.run())
    assert variables_of(host) == wanted
    assert engine.redeploy(service, host.run()).success
    assert variables_of(host) == {(None, "1", "1")}


def test_variables_of_a_redeploy_that_fails_leave_nothing(host: LocalHost) -> None:
    service = host.service(target=1)
    engine = host.engine()
    engine.start(service, host.run())
    patient = host.engine(stable_s=PATIENT_S)
    assert not patient.redeploy(host.service("exit 1", target=1), host.run(variables=VARIABLES)).success
    assert engine.scale(service, 2, host.run()).success
    assert variables_of(host) == {(None, None, None)}


def test_a_tag_is_refused_since_a_command_has_none(host: LocalHost) -> None:
    engine = host.started()
    before = host.pids()
    for use in (lambda: engine.redeploy(host.service(), host.run(tag="v2")), lambda: engine.plan(host.service(), "v2")):
        with pytest.raises(EngineRefusedError, match="runs a command, not an image: call it without a tag"):
            use()
    assert host.pids() == before


def test_a_plan_lists_what_would_be_started_and_ended_and_changes_nothing(host: LocalHost) -> None:
    engine = host.started(target=1)
    before, files = host.pids(), sorted(host.data_dir.rglob("*"))
    new = host.service("exec sleep 2000")
    assert new.definition is not None
    assert engine.plan(new, None) == Plan(
        order="start-first",
        order_reason="processes of the old and the new set can run side by side",
        image_name="free text",
        image_before=host.shown(engine).image_digest,
        image_after=definition_digest(new.definition),
        steps=(
            "start web-1, web-2",
            "wait until each has run for 0.4 s",
            "end the old web-1: SIGTERM, and SIGKILL to what is left after 5 s",
        ),
        notes=(
            "a command that listens on a fixed port cannot start while the old process has that port",
            str(RunLimits()),
        ),
    )
    assert (host.pids(), sorted(host.data_dir.rglob("*"))) == (before, files)


def test_a_plan_says_what_would_be_refused_or_put_off(host: LocalHost) -> None:
    engine = host.engine()
    with pytest.raises(EngineRefusedError, match="target must be 0 to 10 containers, got 11"):
        engine.plan(host.service(target=11), None)
    with pytest.raises(EngineRefusedError, match="web has no definition"):
        engine.plan(replace(host.service(), definition=None), None)
    engine.start(host.service(), host.run())
    engine.stop(host.service(), host.run())
    plan = engine.plan(host.service(), None)
    assert (plan.order, plan.steps) == ("", ("keep the definition for the next start",))


def test_a_command_has_no_images_to_which_it_could_return(host: LocalHost) -> None:
    service = host.service(target=1)
    engine = host.engine()
    engine.start(service, host.run())
    assert host.shown(engine).rollback_refusal == NO_ROLLBACK
    for act in (
        lambda: engine.plan(service, None, WantedImage(number=1)),
        lambda: engine.redeploy(service, host.run(image=WantedImage(number=1))),
    ):
        with pytest.raises(EngineRefusedError, match="has no images"):
            act()
