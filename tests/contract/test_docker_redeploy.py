"""Redeploy on a real Docker Engine: rollback, stopped and crashed services, and refusals."""

import pytest

from tests.contract.docker_support import APP, inspected, opened, redeploy, service, snapshots, states, version
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun
from tutumd.errors import EngineRefusedError


@pytest.mark.parametrize(
    ("broken", "reason", "line", "policy"),
    [
        ("v3-broken", "it exited with 3", "fatal: v3-broken cannot start", "no"),
        ("v3-broken", "it exited ", "fatal: v3-broken cannot start", "always"),
        ("unhealthy", "it is unhealthy", "serving unhealthy", "no"),
    ],
)
def test_the_old_container_runs_again_when_the_new_one_fails(
    clean_bed: DockerBed, broken: str, reason: str, line: str, policy: str
) -> None:
    clean_bed.push("app", "v1")
    old = clean_bed.docker("run", "-d", "--name", "web", "-p", "8080:8080", "--restart", policy, APP)
    tag_before = clean_bed.inspect("image", APP)["Id"]
    clean_bed.push("app", broken)
    with opened(clean_bed) as engine:
        outcome = redeploy(engine, "name:web")
    assert not outcome.success
    assert outcome.rolled_back
    assert reason in outcome.reason
    assert line in outcome.log_tail
    assert outcome.containers_before == outcome.containers_after == (old,)
    assert states(clean_bed) == {"web": "running"}
    assert inspected(clean_bed, "web")["Id"] == old
    assert inspected(clean_bed, "web")["HostConfig"]["RestartPolicy"]["Name"] == policy
    assert clean_bed.fetch("127.0.0.1:8080") == "v1"
    # What compose would start next from this name is what was there before.
    assert clean_bed.inspect("image", APP)["Id"] == tag_before


@pytest.mark.slow
def test_the_new_image_names_its_commit(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "web", APP)
    with opened(clean_bed) as engine:
        before = redeploy(engine, "name:web").image
        clean_bed.push("app", Image(version="v2", labels={"org.opencontainers.image.revision": "a" * 40}))
        after = redeploy(engine, "name:web", FakeRun(action_uuid="11111111-0000")).image
    assert before is not None
    assert after is not None
    assert (before.revision, after.revision) == ("", "a" * 40)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "state", "newer"), [("stop", "created", "v2"), ("pause", "paused", "v2"), ("pause", "paused", "healthy")]
)
def test_a_stopped_service_is_replaced_and_stays_stopped(
    clean_bed: DockerBed, how: str, state: str, newer: str
) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "web", "--restart", "unless-stopped", APP)
    clean_bed.docker(how, "web")
    clean_bed.push("app", newer)
    with opened(clean_bed) as engine:
        assert snapshots(engine)["name:web"].stopped
        outcome = redeploy(engine, "name:web")
        assert snapshots(engine)["name:web"].stopped
    assert outcome.success
    kept = {
        "stop": "stopped: it was replaced and stays stopped",
        "pause": "paused: it was replaced and is paused again",
    }
    assert outcome.reason == f"the service is {kept[how]}"
    assert version(clean_bed, "web") == newer
    assert states(clean_bed) == {"web": state}


def test_a_service_that_crashed_is_started_with_the_new_image(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v3-broken")
    clean_bed.docker("run", "-d", "--name", "web", APP)
    clean_bed.docker("wait", "web")
    clean_bed.push("app", "v2")
    with opened(clean_bed) as engine:
        assert not snapshots(engine)["name:web"].stopped
        assert redeploy(engine, "name:web").success
    assert states(clean_bed) == {"web": "running"}


@pytest.mark.slow
def test_what_cannot_be_replaced_is_refused_untouched(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "parent", APP)
    clean_bed.docker("run", "-d", "--rm", "--name", "passing", "--network", "container:parent", "-e", "PORT=81", APP)
    image_id = str(clean_bed.inspect("image", APP)["Id"])
    clean_bed.docker("run", "-d", "--name", "by-id", image_id[7:19])
    before = {name: inspected(clean_bed, name)["Id"] for name in states(clean_bed)}
    with opened(clean_bed) as engine:
        for name, reason in [
            ("parent", "passing shares the network namespace of parent .*--rm"),
            ("by-id", "image ID"),
        ]:
            with pytest.raises(EngineRefusedError, match=reason):
                redeploy(engine, f"name:{name}")
            with pytest.raises(EngineRefusedError, match=reason):
                engine.plan(service(f"name:{name}"), None)
    assert {name: inspected(clean_bed, name)["Id"] for name in states(clean_bed)} == before
    assert set(states(clean_bed).values()) == {"running"}


def test_the_container_that_tutumd_runs_in_is_left_alone(clean_bed: DockerBed) -> None:
    own = clean_bed.docker("run", "-d", "--name", "tutumd", "app:v1")
    with opened(clean_bed, self_container_id=own) as engine:
        assert engine.discover() == ()
        with pytest.raises(EngineRefusedError, match="tutumd itself runs in tutumd"):
            redeploy(engine, "name:tutumd")


def test_a_service_that_is_to_be_ignored_from_now_on_is_left_alone(clean_bed: DockerBed) -> None:
    clean_bed.docker("run", "-d", "--name", "caddy", "--label", "tutum.ignore=true", "app:v1")
    with opened(clean_bed) as engine:
        assert engine.discover() == ()
        with pytest.raises(EngineRefusedError, match=r"caddy is left alone: it has the label tutum\.ignore"):
            redeploy(engine, "name:caddy")
