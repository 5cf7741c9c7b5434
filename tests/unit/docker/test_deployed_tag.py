"""Where a call without a tag leads after one that named a tag, and what tells it."""

import pytest

from tests.unit.docker.documents import compose_labels, identity, image, inspected
from tutumd.engines.docker.apply.scale import replica_config
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.services import group_by_service
from tutumd.engines.docker.look.snapshot import base_image, image_facts, service_snapshot, with_base
from tutumd.engines.docker.plan.redeploy import RedeployPlan, plan_redeploy
from tutumd.engines.labels import parse_labels
from tutumd.errors import EngineRefusedError
from tutumd.model import WantedImage

BASE, TAGGED = "tutum.image.base", "tutum.image.tagged"
FILES = {"com.docker.compose.project.config_files": "/srv/shop/compose.yaml"}
FILE_NOTE = "the compose file was not read: changes in it or in an env_file take effect with docker compose up -d"


def running(
    name: str, labels: dict[str, str] | None = None, *, of_image: dict[str, str] | None = None
) -> InspectedContainer:
    """A container of an image's name, with its own labels beside those of the image."""
    own = {"Image": name, "Labels": {**(of_image or {}), **(labels or {})}}
    return inspected(1, "web", config=own, its_image=image(Labels=of_image or {}))


def planned(container: InspectedContainer, tag: str | None = None) -> RedeployPlan:
    (group,) = group_by_service([container])
    return plan_redeploy(group, [container], tag, None)


def made(name: str, tag: str) -> InspectedContainer:
    """The container that a call with a tag makes of one with this image's name."""
    old = running(name)
    (swap,) = planned(old, tag).swaps
    return running(swap.image, with_base(old.labels, base_image(old), swap.image))


@pytest.mark.parametrize(
    "base", ["app", "app:stable", "host:5000/team/app:1", f"app@sha256:{identity(7)}", f"app:1@sha256:{identity(7)}"]
)
def test_a_call_without_a_tag_goes_back_to_what_was_there_before_all_tags(base: str) -> None:
    first = made(base, "v1")
    assert first.image_name.endswith(":v1")
    assert planned(first).pulled == (base,)
    (swap,) = planned(first, "v2").swaps
    second = running(swap.image, with_base(first.labels, base_image(first), swap.image))
    assert (second.image_name[-3:], planned(second).pulled) == (":v2", (base,))
    back = with_base(second.labels, base_image(second), base)
    assert back == {}


def test_the_services_own_tag_leaves_no_label() -> None:
    for name, tag in (("app:stable", "stable"), ("app", "latest"), ("host:5000/app", "latest")):
        old = made(name, "v1")
        assert planned(old, tag).pulled == (name,)
        assert with_base(old.labels, base_image(old), name) == {}
    pinned = f"app:stable@sha256:{identity(7)}"
    assert planned(running(pinned), "stable").pulled == ("app:stable",)


def test_what_another_tool_made_of_the_container_ends_the_tag() -> None:
    labels = dict(made("app:stable", "v1").labels)
    assert planned(running("app:v5", labels)).pulled == ("app:v5",)
    assert planned(running("other:v1", labels)).pulled == ("other:v1",)
    assert planned(running("app:v1")).pulled == ("app:v1",)
    assert planned(running("app:v1", {BASE: "app:stable"})).pulled == ("app:v1",)


def test_labels_of_a_committed_image_do_not_count() -> None:
    committed = dict(made("app:stable", "v1").labels)
    assert planned(running("app:v1", of_image=committed)).pulled == ("app:v1",)
    assert planned(running("snapshot", of_image=committed)).pulled == ("snapshot",)
    # `?tag=v2` of an image that was committed from a container of the same service: only one label differs.
    new = with_base(running("app:stable").labels, "app:stable", "app:v2")
    assert planned(running("app:v2", new, of_image=committed)).pulled == ("app:stable",)


def test_a_dependent_keeps_its_image_and_its_labels() -> None:
    parent = running("app:v1")
    labels = with_base({}, "side:stable", "side:v1")
    host = {"NetworkMode": f"container:{identity(1)}"}
    sidecar = inspected(2, "side", config={"Image": "side:v1", "Labels": labels}, host=host, networks={})
    groups = group_by_service([parent, sidecar])
    plan = plan_redeploy(next(group for group in groups if group.name == "web"), [parent, sidecar], "v2", None)
    assert [swap.image for swap in plan.swaps] == ["app:v2", "side:v1"]


def test_copies_have_the_labels_of_the_first() -> None:
    first = running("app:v1", {**compose_labels(1), **with_base({}, "app:stable", "app:v1")})
    (group,) = group_by_service([first])
    copied = replica_config(group, first, "web-2")["Labels"]
    assert (copied[BASE], copied[TAGGED]) == ("app:stable", "app:v1")


def test_a_redeploy_says_which_tag_it_leaves() -> None:
    tagged = made("app:stable", "v1")
    left = "without a tag, it goes back from app:v1, which the tag of an earlier call chose, to app:stable"
    assert (planned(tagged).left_tags, planned(tagged).notes) == ((left,), (left,))
    assert (planned(tagged, "v2").left_tags, planned(tagged, "v2").notes) == (
        (),
        ("web changes from app:v1 to app:v2",),
    )
    assert planned(running("app:stable")).left_tags == ()


@pytest.mark.parametrize("shown", ["app:kept", identity(0xA0)], ids=["by name", "by ID"])
def test_a_rollback_is_not_the_tag_of_a_call_whatever_name_podman_shows(shown: str) -> None:
    labels = with_base({}, "app:stable", f"sha256:{identity(0xA0)}")
    [left] = planned(running(shown, labels)).left_tags
    assert left == f"without a tag, it goes back from {shown}, which a rollback chose, to app:stable"


def test_the_name_of_an_image_has_no_digest_of_another_one() -> None:
    chosen, base = (f"app:stable@sha256:{digit * 64}" for digit in "12")
    facts = image_facts(running(chosen, with_base({}, base, chosen)))
    assert facts and (facts.reference, facts.digest) == ("app:stable", chosen.partition("@")[2])


def test_a_rollback_does_not_give_one_image_to_containers_of_several() -> None:
    both = [
        inspected(number, f"web-{number}", config={"Image": f"app:{number}"}, labels={"tutum.service": "web"})
        for number in (1, 2)
    ]
    (group,) = group_by_service(both)
    refusal = "a rollback would give its containers one image, and they have several: app:1, app:2"
    assert service_snapshot(group).rollback_refusal == refusal
    assert plan_redeploy(group, both, None, None).pulled == ("app:1", "app:2")
    with pytest.raises(EngineRefusedError, match=refusal):
        plan_redeploy(group, both, None, None, wanted=WantedImage(number=1, digest=f"sha256:{'1' * 64}"))
    (alone,) = group_by_service(both[:1])
    assert service_snapshot(alone).rollback_refusal == ""


def test_the_service_tells_callers_of_a_tag_and_of_its_compose_file() -> None:
    goes_back = "without a tag, it goes back from app:v1, which the tag of an earlier call chose, to app:stable"
    labels = {**made("app:stable", "v1").labels, **compose_labels(1), **FILES}
    assert notes_of(running("app:v1", labels)) == (goes_back, FILE_NOTE)
    assert planned(running("app", {**compose_labels(1), **FILES})).notes == (FILE_NOTE,)
    for labels in (FILES, compose_labels(1), {}):
        assert notes_of(running("app", labels)) == ()


def notes_of(container: InspectedContainer) -> tuple[str, ...]:
    (group,) = group_by_service([container])
    shown = service_snapshot(group)
    return (*shown.left_tags, *shown.notes)


def test_the_labels_are_known() -> None:
    assert parse_labels([with_base({}, "app:stable", "app:v1")]).problems == ()
