"""The image of a rollback, its name until the next redeploy, and the image that runs."""

import pytest

from tests.unit.swarm.values import NEW, OLD, spec, task, view
from tutumd.engines.labels import original_image, rollback_image
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.engine import take_snapshot
from tutumd.engines.swarm.images import ResolvedImage
from tutumd.engines.swarm.plan import plan_redeploy
from tutumd.engines.swarm.spec import Version
from tutumd.errors import EngineRefusedError
from tutumd.model import ImageFacts, WantedImage

DIGEST = NEW.image.partition("@")[2]
NEWEST = ResolvedImage(image=NEW.image, digest=DIGEST)
RUNNING = (task("t1", slot="1"), task("t2", slot="2"))


@pytest.mark.parametrize(
    ("image", "original"),
    [("app:latest", "app:latest"), (OLD.image, OLD.image), (f"app@{DIGEST}", f"app@{DIGEST}")],
)
def test_a_rollback_keeps_the_name_to_which_the_next_redeploy_returns(image: str, original: str) -> None:
    wanted = WantedImage(number=3, digest="sha256:" + "3" * 64)
    before = spec(Version(image=image, force=0), replicas=0)
    restored = ResolvedImage(image=rollback_image(image, wanted), digest=wanted.digest, replaced=image)
    plan = plan_redeploy(view(before), restored, {}, stable_s=3)
    assert plan.note == f"the service is stopped and stays stopped: its next start runs {restored.image}"
    back = specs.redeploy_spec(before, plan.new, plan.config, None, {}, plan.labels)
    assert specs.version(back).image == f"{image.partition('@')[0]}@{wanted.digest}"
    assert original_image(back["Labels"], restored.image) == original
    assert original_image(back["Labels"], "app:of-somebody-else") == "app:of-somebody-else"
    undone = specs.rollback_spec(back, plan.before, plan.config or {})
    assert specs.with_config_of(undone, before) == before
    next_plan = plan_redeploy(view(back), NEWEST, {}, stable_s=3)
    assert specs.redeploy_spec(back, next_plan.new, None, None, {}, next_plan.labels)["Labels"] == {}
    assert specs.rollback_spec(back, next_plan.before, {})["Labels"] == back["Labels"]


def test_a_rollback_to_an_image_of_no_registry_is_refused() -> None:
    with pytest.raises(EngineRefusedError, match="the image #3 has no digest of a registry"):
        rollback_image("app:latest", WantedImage(number=3, image_id="sha256:" + "3" * 64))


def test_the_image_that_runs_is_known_if_all_tasks_have_it() -> None:
    running = ImageFacts(reference="app:latest", digest=OLD.image.partition("@")[2])
    assert take_snapshot(view(spec(), *RUNNING)).image == running
    for tasks, state in (((), ""), ((*RUNNING, task("t3", NEW)), ""), (RUNNING, "updating")):
        assert take_snapshot(view(spec(), *tasks, state=state)).image is None
    local = Version(image="app:latest", force=0)
    assert take_snapshot(view(spec(local), task("t1", local))).image is None
    assert take_snapshot(view(spec())).rollback_refusal == ""
    by_id = spec(Version(image="sha256:" + "1" * 64, force=0))
    assert "the image is given by its ID" in take_snapshot(view(by_id)).rollback_refusal
