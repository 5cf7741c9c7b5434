"""The image of a rollback: its name, and where it would come from."""

import pytest

from tests.unit.docker.documents import image
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.plan.images import check_wanted, find_availability, find_wanted, wanted_name
from tutumd.errors import EngineRefusedError
from tutumd.model import Availability, WantedImage

HERE, PUSHED, GONE, ELSEWHERE, BUILT = (f"sha256:{digit * 64}" for digit in "12345")


@pytest.mark.parametrize(
    ("name", "with_tag", "without_tag"),
    [
        ("app", f"app@{HERE}", f"app@{HERE}"),
        ("app:1.4", f"app:1.4@{HERE}", f"app@{HERE}"),
        ("host:5000/me/app", f"host:5000/me/app@{HERE}", f"host:5000/me/app@{HERE}"),
        ("host:5000/me/app:1", f"host:5000/me/app:1@{HERE}", f"host:5000/me/app@{HERE}"),
        (f"app:1@{GONE}", f"app:1@{HERE}", f"app@{HERE}"),
    ],
)
def test_the_name_has_the_digest_in_the_repository_of_the_service(name: str, with_tag: str, without_tag: str) -> None:
    wanted = WantedImage(number=1, digest=HERE, image_id=BUILT)
    assert wanted_name(name, wanted) == with_tag
    assert wanted_name(name, wanted, keeps_tag=False) == without_tag


def test_an_image_without_a_digest_is_named_by_its_id() -> None:
    assert wanted_name("app", WantedImage(number=1, image_id=BUILT)) == BUILT
    with pytest.raises(EngineRefusedError, match="which belongs to no repository"):
        wanted_name(BUILT, WantedImage(number=1, digest=HERE))


@pytest.fixture
def engine() -> FakeDocker:
    """An engine whose lookup by name does not compare repositories."""
    engine = FakeDocker()
    engine.images_by_name |= {
        f"app@{HERE}": image(1, digests=[f"app@{HERE}"]),
        f"app@{ELSEWHERE}": image(2, digests=[f"evil/app@{ELSEWHERE}", f"app@{HERE}"]),
        BUILT: image(5),
    }
    engine.in_registry = {f"app@{PUSHED}"}
    return engine


def test_only_an_image_of_the_repository_is_local(engine: FakeDocker) -> None:
    assert find_wanted(engine.api, f"app@{HERE}") is not None
    assert find_wanted(engine.api, f"app@{ELSEWHERE}") is None


@pytest.mark.parametrize("is_podman", [False, True], ids=["docker", "podman"])
def test_where_an_image_would_come_from(engine: FakeDocker, *, is_podman: bool) -> None:
    engine.is_podman = is_podman
    engine.api.podman_details = lambda kind, reference: {}  # type: ignore[method-assign]
    images = [WantedImage(number=number, digest=each) for number, each in enumerate((HERE, PUSHED, GONE, ELSEWHERE))]
    ids = [WantedImage(number=8, image_id=BUILT), WantedImage(number=9, image_id=GONE)]
    registry, no = (Availability.UNKNOWN,) * 2 if is_podman else (Availability.REGISTRY, Availability.NO)
    found = {each.number: find_availability(engine.api, "app", each) for each in (*images, *ids)}
    here = {0: Availability.LOCAL, 8: Availability.LOCAL, 9: Availability.NO}
    assert found == here | {1: registry, 2: no, 3: no}


def test_an_image_of_another_platform_is_refused(engine: FakeDocker) -> None:
    foreign = {**image(1, digests=[f"app@{HERE}"]), "Os": "linux", "Architecture": "s390x"}
    wanted = WantedImage(number=1, digest=HERE)
    with pytest.raises(EngineRefusedError, match="is available for linux/s390x only, and this engine is linux/amd64"):
        check_wanted(engine.api, f"app@{HERE}", foreign, wanted, "")
    assert check_wanted(engine.api, f"app@{HERE}", foreign, wanted, "linux/s390x") == HERE
    with pytest.raises(EngineRefusedError, match="only, and the service runs on linux/arm64"):
        check_wanted(engine.api, f"app@{PUSHED}", None, WantedImage(number=1, digest=PUSHED), "linux/arm64")
