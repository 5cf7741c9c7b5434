"""The image of a rollback, its name until the next redeploy, and the image that runs."""

from typing import Any

import pytest

from tests.support.kubernetes.patches import json_patch
from tests.support.kubernetes.workloads import container, deployment, stateful_set, template
from tests.unit.kubernetes.values import AT, DIGEST, pod, view, workload
from tutumd.engines.kubernetes.discover import result_image, take_snapshot
from tutumd.engines.kubernetes.patches import RedeployJournal, is_restarted, restart_patch, rollback_patch
from tutumd.engines.kubernetes.plan import plan_redeploy
from tutumd.engines.kubernetes.view import PodContainer
from tutumd.engines.kubernetes.workloads import Workload
from tutumd.engines.rollout.timing import Timing
from tutumd.errors import EngineRefusedError
from tutumd.model import ImageFacts, WantedImage

APP = "registry.test/app"
OTHER = "sha256:" + "2" * 64
WANTED = WantedImage(number=3, digest="sha256:" + "3" * 64)
ROLLED_BACK = "tutum.image.rolled-back"


def of_image(image: str, **spec: Any) -> dict[str, Any]:
    """A Deployment with two containers of the image and one of another."""
    twins = [{**container(name), "image": image} for name in ("app", "cron")]
    return deployment(template=template(*twins, container("proxy", "v0")), **spec)


def planned(subject: Workload, wanted: WantedImage | None = None, *, tag: str | None = None) -> RedeployJournal:
    return plan_redeploy(view(subject, pod("a")), tag, {}, Timing(), wanted=wanted)


def changed(subject: Workload, plan: RedeployJournal) -> Workload:
    after = Workload(subject.kind, json_patch(subject.json, restart_patch(subject, plan, {})))
    assert is_restarted(after, plan, {})
    return after


def restored(subject: Workload, plan: RedeployJournal) -> Workload:
    return Workload(subject.kind, json_patch(subject.json, rollback_patch(subject, plan, ())))


def images(subject: Workload) -> list[str]:
    return [each["image"] for each in subject.template["spec"]["containers"]]


@pytest.mark.parametrize("image", [APP, f"{APP}:v1", f"{APP}:v1@{DIGEST}", f"{APP}@{DIGEST}", "registry.test:5000/app"])
def test_a_rollback_sets_a_digest_and_the_next_redeploy_returns_to_the_name(image: str) -> None:
    before = workload(of_image(image))
    plan = planned(before, WANTED)
    back = changed(before, plan)
    pinned = f"{image.partition('@')[0]}@{WANTED.digest}"
    assert images(back) == [pinned, pinned, f"{APP}:v0"]
    assert back.annotations == {ROLLED_BACK: f"{pinned} {image}"}
    assert "annotations" not in back.template["metadata"] or ROLLED_BACK not in back.template["metadata"]["annotations"]
    assert (restored(back, plan).template, restored(back, plan).annotations) == (before.template, before.annotations)
    again = changed(back, planned(back, WantedImage(number=2, digest=OTHER)))
    assert again.annotations == {ROLLED_BACK: f"{image.partition('@')[0]}@{OTHER} {image}"}
    for rolled_back in (back, again):
        plan = planned(rolled_back)
        after = changed(rolled_back, plan)
        assert (images(after), after.annotations) == ([image, image, f"{APP}:v0"], {})
        undone = restored(after, plan)
        assert (undone.template, undone.annotations) == (rolled_back.template, rolled_back.annotations)


def test_a_digest_that_somebody_sets_after_a_rollback_stays() -> None:
    pinned = f"{APP}:v1@{DIGEST}"
    made = of_image(pinned, annotations={ROLLED_BACK: f"{APP}:v1@{WANTED.digest} {APP}:v1"})
    after = changed(workload(made), planned(workload(made)))
    assert (images(after)[0], after.annotations) == (pinned, {})


def test_a_tag_replaces_the_name_of_a_rollback() -> None:
    back = changed(workload(of_image(f"{APP}:v1")), planned(workload(of_image(f"{APP}:v1")), WANTED))
    after = changed(back, planned(back, tag="v2"))
    assert (images(after)[0], after.annotations) == (f"{APP}:v2", {"tutum.image.tagged": f"{APP}:v2"})
    kept = changed(after, planned(after, WANTED))
    stays = f"without a tag, it stays at {APP}:v2, which the tag of an earlier call chose"
    assert (take_snapshot(kept, ()).left_tags, planned(kept, WANTED).notes) == ((stays,), planned(back, WANTED).notes)
    assert changed(kept, planned(kept)).annotations == after.annotations


def test_an_image_of_no_registry_is_refused() -> None:
    with pytest.raises(EngineRefusedError, match="the image #3 has no digest of a registry"):
        planned(workload(of_image(APP)), WantedImage(number=3, image_id=DIGEST))


def test_what_would_replace_nothing_says_so_before_a_rollback() -> None:
    assert take_snapshot(workload(deployment()), ()).rollback_refusal == ""
    for made, words in (
        (deployment(paused=True), "paused"),
        (stateful_set(updateStrategy={"type": "OnDelete"}), "OnD"),
    ):
        assert words in take_snapshot(workload(made), ()).rollback_refusal


def running(image: str, digest: str, *, is_from_registry: bool = True, at: str = AT) -> Any:
    main = PodContainer(name="app", image=image, digest=digest, is_from_registry=is_from_registry)
    return pod(digest[-1], at=at, container=main)


def test_the_image_that_runs_is_known_if_all_ready_pods_have_it() -> None:
    subject = workload(of_image(f"{APP}:v1"))
    facts = ImageFacts(reference=f"{APP}:v1", digest=DIGEST)
    one, other = running(f"{APP}:v1", DIGEST), running(f"{APP}:v1", OTHER)
    assert take_snapshot(subject, [one, one]).image == facts == result_image(subject, [one])
    unknown: tuple[list[Any], ...] = (
        [],
        [one, other],
        [running(f"{APP}:v1", DIGEST, is_from_registry=False)],
    )
    assert [take_snapshot(subject, pods).image for pods in unknown] == [None] * len(unknown)
    assert result_image(subject, [one, other]) == ImageFacts(reference=f"{APP}:v1", digest=OTHER)
    # The digest of the template is the one to go back to, whatever a node reports for it.
    pinned = workload(of_image(f"{APP}:v1@{DIGEST}"))
    assert take_snapshot(pinned, [running(f"{APP}:v1@{DIGEST}", OTHER)]).image == facts
    old = running(f"{APP}:v1", OTHER)
    assert take_snapshot(pinned, [old]).image == ImageFacts(reference=f"{APP}:v1", digest=OTHER)
    assert (take_snapshot(pinned, ()).image, result_image(pinned, ())) == (None, facts)
