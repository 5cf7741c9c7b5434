"""Where images are, as far as the engine and the registry say."""

from threading import Event
from typing import cast

import pytest

from tests.support.docker_errors import api_error
from tutumd.engines.dockerapi.connection import Client
from tutumd.engines.dockerapi.failures import translated
from tutumd.engines.dockerapi.registry import find_available, find_in_registry, inspect_manifest
from tutumd.engines.labels import parse_reference
from tutumd.errors import EngineUnavailableError
from tutumd.model import Availability, WantedImage

DIGEST = f"sha256:{'7' * 64}"


@pytest.mark.parametrize(
    ("status", "text", "where"),
    [
        (404, "manifest unknown: manifest unknown", Availability.NO),
        (404, "pull access denied for app, repository does not exist or may require 'docker login'", "unknown"),
        (401, "unauthorized", Availability.UNKNOWN),
        (500, "x509: certificate signed by unknown authority", Availability.UNKNOWN),
    ],
)
def test_an_image_is_nowhere_only_if_its_registry_says_so(status: int, text: str, where: str) -> None:
    def refuse() -> None:
        with translated("find it"):
            raise api_error(status, text)

    assert find_in_registry(refuse) == where
    assert find_in_registry(lambda: None) is Availability.REGISTRY


def test_an_image_that_is_not_found_in_time_is_unknown() -> None:
    never = Event()

    def find(image: WantedImage) -> Availability:
        if image.number == 1:
            raise EngineUnavailableError("away")
        if image.number == 2:
            never.wait(60)
        return Availability.LOCAL

    found = find_available([WantedImage(number=number) for number in (1, 2, 3)], find)
    never.set()
    assert found == {1: Availability.UNKNOWN, 2: Availability.UNKNOWN, 3: Availability.LOCAL}


def test_a_digest_of_docker_hub_is_requested_once_because_each_request_counts_as_a_pull() -> None:
    requested: list[str] = []

    class Registry:
        def inspect_distribution(self, name: str, auth_config: object) -> dict[str, object]:
            requested.append(name)
            return {"Descriptor": {"digest": DIGEST}, "Platforms": []}

    names = [f"app@{DIGEST}", "app:latest", f"host:5000/app@{DIGEST}"]
    for name in names * 2:
        inspect_manifest(cast(Client, Registry()), parse_reference(name), {}, "find it")
    assert requested == [*names, *names[1:]]
