"""Images of a redeploy on a real Docker Engine, or Podman: where they come from, and what becomes of the old ones."""

import pytest

from tests.contract.docker_support import APP, inspected, opened, redeploy, service, states, version
from tests.support.docker_bed import PRIVATE, DockerBed
from tests.support.images import Image, architecture
from tests.support.runs import FakeRun
from tutumd.errors import EngineRefusedError

pytestmark = pytest.mark.slow

OWN = architecture()
# What a machine of this architecture runs as well.
OTHER = {"amd64": "386", "arm64": "arm"}[OWN]


def test_a_registry_that_is_down_is_the_reason(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "web", APP)
    clean_bed.stop_registry()
    with opened(clean_bed) as engine, pytest.raises(EngineRefusedError, match=r"cannot find .*refused"):
        redeploy(engine, "name:web")
    assert states(clean_bed) == {"web": "running"}


def test_registry_logins_are_read_at_each_pull(daemon: DockerBed) -> None:
    daemon.login()
    daemon.push("secret", "v1", registry=PRIVATE)
    daemon.docker("run", "-d", "--name", "web", f"{PRIVATE}/secret")
    daemon.push("secret", "v2", registry=PRIVATE)
    daemon.logout()
    with opened(daemon) as engine:
        with pytest.raises(EngineRefusedError, match=r"no basic auth credentials|authentication required"):
            redeploy(engine, "name:web")
        daemon.login()
        assert redeploy(engine, "name:web").success
    assert version(daemon, "web") == "v2"


def test_a_local_image_is_used_as_it_is_and_the_reason_says_so(daemon: DockerBed) -> None:
    old = daemon.docker("run", "-d", "--name", "web", "app:v1")
    with opened(daemon) as engine:
        outcome = redeploy(engine, "name:web")
    assert outcome.success
    assert outcome.reason == "the image was never in a registry: the local one was used"
    assert inspected(daemon, "web")["Id"] != old


def test_only_what_runs_pulled_and_nobody_else_uses_is_removed(clean_bed: DockerBed) -> None:
    bed, pulled = clean_bed, set[str]()
    digests = [bed.push("app", Image(version=version), tag=version) for version in "abcdefghi"]
    bed.push("app", Image(version="a"))
    bed.docker("run", "-d", "--name", "web", APP)
    # Somebody else uses b to e: by digest before a run pulls it, by digest after that, by a tag, and by a container.
    bed.docker("pull", f"{APP}@{digests[1]}")
    used = {
        "c": ["pull", f"{APP}@{digests[2]}"],
        "d": ["tag", APP, "mine:kept"],
        "e": ["create", "--name", "user", APP],
    }
    with opened(bed) as engine:
        for number, version in enumerate("bcdefghi", start=1):
            bed.push("app", Image(version=version))
            run = FakeRun(action_uuid=f"{number}1111111-0000", pulled=pulled)
            assert engine.redeploy(service("name:web"), run).success
            pulled = run.pulled
            if version in used:
                bed.docker(*used[version])
    kept = [digest for digest in digests if bed.run("image", "inspect", f"{APP}@{digest}").returncode == 0]
    assert kept == [*digests[:5], *digests[7:]]
    assert pulled == {f"{APP}@{digest}" for digest in digests[2:5] + digests[7:]}


def test_a_container_keeps_its_platform(daemon: DockerBed) -> None:
    bed = daemon
    bed.push_index("app", *(Image(version="a", architecture=each) for each in (OWN, OTHER)))
    bed.docker("run", "-d", "--platform", f"linux/{OTHER}", "--name", "web", APP)
    bed.push_index("app", *(Image(version="b", architecture=each) for each in (OWN, OTHER)))
    note = f"the platform linux/{OTHER} is kept, which is not the engine's own"
    with opened(bed) as engine:
        assert note in engine.plan(service("name:web"), None).notes
        run = FakeRun()
        assert engine.redeploy(service("name:web"), run).success
        assert {note, f"pulling {APP}:latest for linux/{OTHER}"} <= set(run.lines)
        new = inspected(bed, "web")
        assert bed.inspect("image", new["Image"])["Architecture"] == OTHER
        assert bed.docker("exec", "web", "cat", "/version") == "b"
        bed.push_index("app", Image(version="c", architecture=OWN))
        with pytest.raises(EngineRefusedError, match=f"linux/{OTHER}|{OTHER}"):
            engine.redeploy(service("name:web"), FakeRun(action_uuid="1a1b2c3d-0000"))
    assert inspected(bed, "web")["Id"] == new["Id"]
    assert bed.inspect("image", APP)["Id"] == new["Image"]
