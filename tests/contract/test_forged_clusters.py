"""Rows that a `web` which was taken over could write, on Swarm and on Kubernetes.

They run no command, bring no other image, and change no service that is to be ignored.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract import swarm_support as swarm
from tests.contract.forged_support import TakenOver, taken_over
from tests.contract.kubernetes_support import ClusterAndEngine
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.images import Image
from tests.support.kubernetes.workloads import deployment, probed
from tests.support.runs import SEAL, FakeRun, once_at
from tutumd.engines.rollout.journal import Stage
from tutumd.errors import EngineRefusedError
from tutumd.model import Service, Verb
from tutumd.ports.engine import Engine
from tutumd.worker.trust import JournalSeal

APP = f"{ANONYMOUS}/app"
DEFINITION = {"command": "id", "envvars": {}, "working_dir": "", "autorestart": "OFF"}
IMAGE = {"number": 1, "digest": "sha256:" + "1" * 64, "image_id": "", "platform": "", "seal": ""}
VERBS = ((Verb.REDEPLOY, None), (Verb.SCALE, 3), (Verb.SCALEUP, 3), (Verb.START, None), (Verb.STOP, None))
ANOTHER_KEY = JournalSeal(b"the key of another worker")
OF_SWARM: dict[str, Any] = {
    "before": {"TaskTemplate": {"ContainerSpec": {"Image": "app:v2"}, "ForceUpdate": 0}},
    "image": "app:v2",
    "config": {"Parallelism": 1, "Delay": 0, "Monitor": 0, "Order": "stop-first"},
    "platforms": None,
    "status_before": {},
    "running_before": [],
    "result": None,
}
OF_KUBERNETES: dict[str, Any] = {
    "before": {"restarted_at": "", "main": "app"},
    "old": "",
    "generation": 1,
    "image": "registry.test/evil:v1",
    "restarted_at": "2026-01-01T00:00:00.000001Z",
    "min_ready_before": None,
    "min_ready": None,
    "running_before": [],
    "image_before": None,
    "result": None,
}


@dataclass(frozen=True)
class Bed:
    """The rows of the services `web`, which may have two containers at most, and `hidden`, which is to be ignored.

    Attributes:
        stored: Returns what the engine stores of both.
        others: Selectors of what is no service.
        journal: A redeploy's, without its stage.
        digest: Of an image of another repository of the registry.
        is_not_found: What a rollback to it says.
        tag: What a redeploy to another version needs.
        is_begun: Returns whether this journal or line of the log shows that a change was begun.
    """

    rows: TakenOver
    engine: Engine
    service: Callable[[str], Service]
    stored: Callable[[], object]
    others: tuple[str, ...]
    journal: dict[str, Any]
    is_begun: Callable[[object], bool]
    digest: str
    is_not_found: str
    tag: str | None = None


@pytest.fixture
def on_swarm(clean_bed: DockerBed, tmp_path: Path) -> Iterator[Bed]:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, "--label", "tutum.scale.max=2", replicas=1)
    swarm.create(clean_bed, "hidden", "app:v1", "--label", "tutum.ignore=true", replicas=0)
    clean_bed.push("app", "v2")
    evil = clean_bed.push("evil", Image(version="evil"))
    with swarm.opened(clean_bed) as engine, taken_over(tmp_path, engine) as rows:
        yield Bed(
            rows,
            engine,
            swarm.service,
            lambda: [swarm.spec(clean_bed, name) for name in ("web", "hidden")],
            ("hidden",),
            OF_SWARM,
            lambda stored: isinstance(stored, str) and stored.startswith("probing the new image"),
            evil,
            "manifest unknown",
        )
    assert "-trial-" not in clean_bed.docker("service", "ls"), "no probe is left"


@pytest.fixture
def on_kubernetes(kubernetes: ClusterAndEngine, tmp_path: Path) -> Iterator[Bed]:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed(), annotations={"tutum.scale.max": "2"}))
    kube.create(cluster, deployment("hidden", annotations={"tutum.ignore": "true"}))
    names = ("hidden", "../../../hidden/deployments/web")
    with taken_over(tmp_path, engine) as rows:
        yield Bed(
            rows,
            engine,
            kube.service,
            lambda: [kube.spec_and_status(cluster, "deployments", name)["spec"] for name in ("web", "hidden")],
            (*(f"deployment/shop/{name}" for name in names), "deployment/other/web"),
            OF_KUBERNETES,
            lambda stored: isinstance(stored, dict) and bool(stored.get("ordered")),
            "sha256:" + "e" * 64,
            "manifest unknown",
            "v2",
        )


@pytest.fixture(params=["swarm", "kubernetes"])
def bed(request: pytest.FixtureRequest) -> Bed:
    made: Bed = request.getfixturevalue(f"on_{request.param}")
    return made


def test_rows_change_no_service_beyond_what_a_handler_may(bed: Bed) -> None:
    before, rows = bed.stored(), bed.rows
    for stage in Stage:
        rows.write_action("web", journal={**bed.journal, "stage": stage.value})
        reason = rows.perform().reason
        assert reason.startswith("another version of tutumd, or a worker with another key, began this action"), stage
    for inputs in ({"variables": {"LD_PRELOAD": "/evil.so"}}, {"tag": "80/evil/app:v1"}):
        rows.write_action("web", **inputs)
        assert rows.perform().reason.startswith("refused: the tag, the image or a variable")
    for verb in (Verb.SCALE, Verb.SCALEUP):
        rows.write_action("web", verb, target=3)
        assert "at most 2" in (reason := rows.perform().reason), reason
    assert bed.stored() == before


def test_a_rollback_takes_no_more_than_a_digest_of_the_services_repository(bed: Bed) -> None:
    before, rows = bed.stored(), bed.rows
    by_id = {**IMAGE, "digest": "", "image_id": bed.digest}
    for verb, image, words in (
        (Verb.REDEPLOY, IMAGE, "refused: the tag, the image or a variable"),
        (Verb.ROLLBACK, {**IMAGE, "digest": f"{bed.digest}@{ANONYMOUS}/evil"}, "refused: the tag, the image or"),
        (Verb.ROLLBACK, by_id, "image #1 has no digest, and no worker with this key has seen the service run it"),
        (Verb.ROLLBACK, {**by_id, "seal": SEAL.sign_image("other", "web", bed.digest)}, "image #1 has no digest"),
        (Verb.ROLLBACK, {**IMAGE, "digest": bed.digest}, bed.is_not_found),
    ):
        rows.write_action("web", verb, image=image)
        outcome = rows.perform()
        assert (outcome.success, words in outcome.reason) == (False, True), (verb, image, outcome.reason)
        assert bed.stored() == before, image


def test_a_row_cannot_lead_to_what_is_no_service(bed: Bed) -> None:
    before = bed.stored()
    for selector in bed.others:
        bed.rows.write_service("web", selector=selector, definition=DEFINITION)
        for verb, target in VERBS:
            for journal in ({}, {"stage": "order"}):
                bed.rows.write_action("web", verb, target=target, journal=journal)
                assert not bed.rows.perform().success, (selector, verb, journal)
        service = bed.service(selector)
        uses: tuple[Callable[[], object], ...] = (
            partial(bed.engine.logs, service, 10),
            partial(bed.engine.redeploy, service, FakeRun()),
            partial(bed.engine.plan, service, None),
        )
        for use in uses:
            with pytest.raises(EngineRefusedError):
                use()
    assert bed.stored() == before


@pytest.mark.slow
def test_a_worker_with_another_key_leaves_what_was_begun_and_says_so(bed: Bed) -> None:
    bed.rows.write_action("web", tag=bed.tag)
    bed.rows.perform_until(bed.is_begun)
    before = bed.stored()
    outcome = bed.rows.perform(ANOTHER_KEY)
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason.endswith("the service was left as it is; check what it runs, then redeploy it")
    assert bed.stored() == before
    bed.rows.write_action("web", tag=bed.tag)
    assert bed.rows.perform().success


def test_a_workload_that_is_to_be_ignored_from_now_on_is_left_as_it_is(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed()))

    def ignore() -> None:
        key = ("deployments", "shop", "web")
        cluster.store.change(key, lambda new: new["metadata"].update(annotations={"tutum.ignore": "true"}))

    run = FakeRun(tag="v2", on_log=once_at("restarting", ignore))
    with pytest.raises(EngineRefusedError, match=r"the deployment web is left as it is: it has the annotation tutum"):
        engine.redeploy(kube.WEB, run)
    assert [request.verb for request in cluster.changes()] == ["patch"], "nothing but the restart itself"
