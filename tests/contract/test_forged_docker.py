"""Rows that a `web` which was taken over could write, on a real Docker Engine: no command, no other repository."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contract.docker_support import APP, inspected, opened, states, version
from tests.contract.forged_support import TakenOver, taken_over
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import SEAL
from tutumd.model import Verb
from tutumd.worker.trust import JournalSeal

SECRET = ("--label", "tutum.ignore=true", "--name", "secret")
OTHER_KEY = JournalSeal(b"the key of another worker")


@pytest.fixture(scope="module")
def host(docker_bed: DockerBed) -> Iterator[DockerBed]:
    """A host with the service `web`, of which the registry has a newer image, and with `secret`, to be ignored."""
    docker_bed.push("app", "v1")
    docker_bed.docker("run", "-d", "--name", "web", "--restart", "always", "-v", "/etc:/host:ro", APP)
    docker_bed.docker("run", "-d", *SECRET, "app:v1")
    docker_bed.push("app", "v2")
    yield docker_bed
    docker_bed.clean()


@pytest.fixture
def rows(host: DockerBed, tmp_path: Path) -> Iterator[TakenOver]:
    """The rows of the host's services. Afterwards `secret` is as it was."""
    before = looks(host, "secret")
    with opened(host) as engine, taken_over(tmp_path, engine) as made:
        yield made
    assert looks(host, "secret") == before
    assert states(host) == {"web": "running", "secret": "running"}


def looks(bed: DockerBed, name: str) -> tuple[object, ...]:
    """Return what distinguishes a container that was touched."""
    shown = inspected(bed, name)
    return shown["Id"], shown["State"]["StartedAt"], shown["HostConfig"]["RestartPolicy"], shown["Config"]["Env"]


def swap(bed: DockerBed, **fields: Any) -> dict[str, Any]:
    """Return a swap of the journal in which `secret` is the old container of `web`."""
    swap: dict[str, Any] = {
        "name": "web",
        "old": inspected(bed, "secret")["Id"],
        "new": inspected(bed, "web")["Id"],
        "run": True,
        "ran": True,
        "paused": False,
        "policy": {"Name": "no"},
        "image": APP,
    }
    return swap | fields


def test_no_variable_is_set_that_no_handler_could_set(host: DockerBed, rows: TakenOver) -> None:
    before = looks(host, "web")
    rows.write_action("web", variables={"LD_PRELOAD": "/host/evil.so"})
    assert rows.perform().reason.startswith("refused: the tag, the image or a variable of this action")
    assert looks(host, "web") == before


def test_no_image_is_restored_that_the_service_did_not_run(host: DockerBed, rows: TakenOver) -> None:
    before, secret = looks(host, "web"), str(inspected(host, "secret")["Image"])
    elsewhere = host.push("other", Image(version="evil"))
    seal = SEAL.sign_image("docker", "name:secret", secret)
    images: dict[str, dict[str, object]] = {
        "refused: the tag, the image": {"number": 1, "digest": f"evil/app@{elsewhere}"},
        "no worker with this key has seen": {"number": 1, "image_id": secret, "seal": seal},
        f"cannot find {APP}@{elsewhere}": {"number": 1, "digest": elsewhere},
    }
    for reason, image in images.items():
        rows.write_rollback("web", image)
        assert reason in rows.perform().reason
    rows.write_action("web", image={"number": 1, "digest": elsewhere})
    assert rows.perform().reason.startswith("refused: the tag, the image")
    others: tuple[object, ...] = ({}, [elsewhere], elsewhere, 0, {"repository": "evil/app"})
    for shapeless in others:
        rows.write_rollback("web", shapeless)
        assert rows.perform().reason.startswith("refused: the tag, the image"), shapeless
    assert looks(host, "web") == before


def test_a_forged_journal_removes_no_container(host: DockerBed, rows: TakenOver) -> None:
    action = rows.write_action("web", journal={"phase": "commit", "swaps": [swap(host)]})
    assert rows.perform().success
    assert any("no worker with this key wrote it" in line for line in rows.lines(action))
    assert version(host, "web") == "v2", "it was redeployed from the start"


@pytest.mark.slow
def test_no_phase_of_a_forged_journal_is_followed(host: DockerBed, rows: TakenOver) -> None:
    secret = inspected(host, "secret")["Id"]
    for phase in ("swap", "join", "leave", "restore", "unchanged"):
        before = looks(host, "web")
        more = {"spare": secret, "start_first": phase in ("join", "leave"), "endpoints": {"bridge": {}}}
        rows.write_action("web", journal={"phase": phase, "swaps": [swap(host, **more)]})
        assert rows.perform().success, phase
        assert looks(host, "web") != before, "it was redeployed"
        assert states(host) == {"web": "running", "secret": "running"}, phase


@pytest.mark.slow
def test_no_forged_journal_runs_or_names_another_image(host: DockerBed, rows: TakenOver) -> None:
    host.docker("tag", "app:v3-broken", "evil:local")
    evil = str(host.inspect("image", "evil:local")["Id"])
    another = swap(host, new="", image="evil:local", dependence="is linked", old=inspected(host, "web")["Id"])
    rows.write_action("web", journal={"phase": "swap", "swaps": [another]})
    assert rows.perform().success
    assert version(host, "web") == "v2"
    names = {APP: evil, "app:v1": evil}
    rows.write_action("web", journal={"phase": "restore", "tagged_before": names, "swaps": [swap(host)]})
    assert rows.perform().success
    for name in names:
        assert host.inspect("image", name)["Id"] != evil


Journal = Callable[[DockerBed], Mapping[str, object]]


def doomed(bed: DockerBed) -> Mapping[str, object]:
    secret = inspected(bed, "secret")["Id"]
    return {"before": [], "copies": [], "doomed": [secret]}


def started(bed: DockerBed) -> Mapping[str, object]:
    return {"started": [inspected(bed, "secret")["Id"]]}


@pytest.mark.parametrize(("verb", "journal"), [(Verb.SCALE, doomed), (Verb.START, started)])
def test_no_forged_journal_stops_or_removes_a_container(
    host: DockerBed, rows: TakenOver, verb: Verb, journal: Journal
) -> None:
    rows.write_action("web", verb, target=1 if verb is Verb.SCALE else None, journal=journal(host))
    assert rows.perform().success


def test_a_row_cannot_lead_to_a_container_that_is_to_be_ignored(rows: TakenOver) -> None:
    definition = {"command": "id", "envvars": {}, "working_dir": "", "autorestart": "OFF"}
    rows.write_service("web", selector="name:secret", definition=definition)
    for verb in (Verb.REDEPLOY, Verb.STOP, Verb.START, Verb.SCALE, Verb.SCALEUP):
        target = 2 if verb in (Verb.SCALE, Verb.SCALEUP) else None
        for journal in ({}, {"phase": "swap", "swaps": []}):
            rows.write_action("web", verb, target=target, journal=journal)
            assert not rows.perform().success, (verb, journal)


def test_a_dependent_that_is_to_be_ignored_keeps_the_other_one_from_being_replaced(
    host: DockerBed, rows: TakenOver
) -> None:
    host.docker("run", "-d", "--name", "sidecar", "--network", "container:web", *SECRET[:2], "app:v1")
    try:
        before = looks(host, "web"), looks(host, "sidecar")
        rows.write_action("web")
        reason = rows.perform().reason
        assert "the container sidecar shares" in reason, reason
        assert "which is impossible: it has the label tutum.ignore" in reason, reason
        assert (looks(host, "web"), looks(host, "sidecar")) == before
    finally:
        host.docker("rm", "-f", "sidecar")


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("swap", marks=pytest.mark.slow),
        *(pytest.param(phase, marks=pytest.mark.nightly) for phase in ("pull", "join", "leave", "commit")),
    ],
)
def test_a_worker_with_another_key_recovers_the_service_and_redeploys_it(
    host: DockerBed, rows: TakenOver, phase: str
) -> None:
    rows.write_action("web")
    rows.perform_until(lambda stored: isinstance(stored, dict) and stored.get("phase") == phase)
    assert rows.perform(OTHER_KEY).success
    assert version(host, "web") == "v2"


@pytest.mark.slow
def test_replicas_that_a_worker_with_another_key_has_added_are_added_again(host: DockerBed, rows: TakenOver) -> None:
    rows.write_action("web", Verb.SCALE, target=3)
    rows.perform_until(lambda stored: stored == "started web-2")
    added = inspected(host, "web-2")["Id"]
    assert rows.perform(OTHER_KEY).success
    assert states(host) == dict.fromkeys(("web", "web-2", "web-3", "secret"), "running")
    assert inspected(host, "web-2")["Id"] != added, "nobody has watched it"
    rows.write_action("web", Verb.SCALE, target=1)
    assert rows.perform().success
