"""Images and output as the engine sends them."""

import pytest

from tutumd.engines.images.reference import parse_reference
from tutumd.engines.swarm.api import read_platforms, remove_frames
from tutumd.engines.swarm.plan import is_built_here


def frame(text: str, stream: int = 1) -> bytes:
    data = text.encode()
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def test_messages_of_the_engine_are_not_output() -> None:
    assert remove_frames(frame("Error grabbing logs", 3) + frame("real"), tty=False) == b"real"


def test_the_present_part_of_a_truncated_frame_is_read() -> None:
    assert remove_frames(frame("whole\n") + frame("cut off")[:11], tty=False) == b"whole\ncut"


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
    platforms = [{"architecture": "arm", "os": "linux", "variant": "v7"}, {"architecture": "amd64", "os": "linux"}]
    assert read_platforms(platforms) == ({"Architecture": "", "OS": "linux"}, {"Architecture": "amd64", "OS": "linux"})
