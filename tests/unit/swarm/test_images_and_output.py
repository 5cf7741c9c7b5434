"""Images as the engine and registries describe them."""

import pytest

from tutumd.engines.images import parse_reference
from tutumd.engines.swarm.plan import is_built_here, placement_platforms


@pytest.mark.parametrize(
    ("digests", "built"),
    [
        (None, True),
        ([], True),
        (["host:5000/app@sha256:" + "9" * 64], False),
        (["host:5000/other@sha256:" + "9" * 64], True),
        (["host:5000/app@sha256:" + "a" * 64], True),
    ],
)
def test_an_image_that_a_registry_knows_was_not_built_here(digests: list[str] | None, built: bool) -> None:
    image = {"Id": "sha256:" + "a" * 64, "RepoDigests": digests}
    assert is_built_here(image, parse_reference("host:5000/app:latest")) is built


def test_arm_matches_any_architecture() -> None:
    platforms = [("linux", "arm"), ("linux", "amd64")]
    assert placement_platforms(platforms) == (
        {"Architecture": "", "OS": "linux"},
        {"Architecture": "amd64", "OS": "linux"},
    )
