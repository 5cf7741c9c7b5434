"""The promises of the port `Engine` about rollbacks, for every engine whose services run images with a digest."""

from itertools import count

import pytest

from tests.contract.engines.bed import SECRET, Ability, EngineBed
from tests.contract.engines.verbs import ids, new_run, outcome_of, redeploy, resumed, scale, snapshot, stop
from tutumd.model import ImageFacts, Outcome, WantedImage

pytestmark = [pytest.mark.every_engine, pytest.mark.needs(Ability.IMAGES)]
NOWHERE = WantedImage(number=9, digest="sha256:" + "9" * 64)


def wanted(image: ImageFacts | None) -> WantedImage:
    assert image is not None
    return WantedImage(number=1, digest=image.digest)


def released(bed: EngineBed, version: str) -> WantedImage:
    """Redeploy the service to a version; return the image that it runs then."""
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **bed.release(version)))
    assert (outcome.success, set(bed.versions())) == (True, {version}), outcome.reason
    return wanted(outcome.image)


def roll_back(bed: EngineBed, image: WantedImage) -> Outcome:
    return outcome_of(bed, redeploy(bed), new_run(bed, image=image))


def test_a_rollback_runs_the_image_of_before_until_the_next_redeploy(bed: EngineBed) -> None:
    bed.create(1)
    first = wanted(snapshot(bed).image)
    second = released(bed, "v2")
    assert wanted(snapshot(bed).image).digest == second.digest != first.digest
    assert bed.engine().plan(bed.service, None, first).image_after == first.digest
    outcome = roll_back(bed, first)
    assert outcome.success, outcome.reason
    assert {wanted(image).digest for image in (outcome.image, snapshot(bed).image)} == {first.digest}
    assert bed.versions() == ["v1"]
    assert outcome_of(bed, scale(bed, 2)).success
    assert bed.versions() == ["v1", "v1"]
    assert all(SECRET.items() <= environment.items() for environment in bed.environments())
    assert outcome_of(bed, redeploy(bed)).success
    assert bed.versions() == ["v2", "v2"]
    assert wanted(snapshot(bed).image).digest == second.digest


def test_a_rollback_to_an_image_that_is_nowhere_changes_nothing(bed: EngineBed) -> None:
    bed.create(1)
    old, before = ids(bed), snapshot(bed).image
    outcome = roll_back(bed, NOWHERE)
    assert (outcome.success, outcome.image) == (False, None)
    assert (bed.versions(), ids(bed), snapshot(bed).image) == (["v1"], old, before)


def test_a_rollback_of_a_stopped_service_changes_what_its_next_start_runs(bed: EngineBed) -> None:
    bed.create(1)
    first = wanted(snapshot(bed).image)
    released(bed, "v2")
    assert outcome_of(bed, stop(bed)).success
    outcome = roll_back(bed, first)
    assert outcome.success, outcome.reason
    assert "stopped" in outcome.reason
    assert wanted(outcome.image).digest == first.digest
    assert outcome_of(bed, lambda engine, run: engine.start(bed.service, run)).success
    assert bed.versions() == ["v1"]


@pytest.mark.every_step
def test_a_rollback_killed_at_any_step_is_finished_by_the_next_server(bed: EngineBed) -> None:
    bed.create(1)
    images = {"v1": wanted(snapshot(bed).image), "v2": released(bed, "v2")}
    for step in count(1):
        version = ("v2", "v1")[step % 2]
        old = ids(bed)
        outcome = resumed(bed, redeploy(bed), new_run(bed, image=images[version], kill_at=step))
        assert (bed.versions(), len(snapshot(bed).containers)) == ([version], 1), step
        assert ids(bed).isdisjoint(old), step
        if outcome is None:
            break
        assert outcome.success, (step, outcome)
        assert wanted(outcome.image).digest == images[version].digest, step
    assert step > 3
    assert outcome_of(bed, redeploy(bed)).success
    assert bed.versions() == ["v2"]
