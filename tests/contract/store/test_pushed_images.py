"""Recorded payloads of registries reach exactly the services that run the pushed image, among many similar ones."""

from dataclasses import replace

import pytest

from tests.contract.store.test_groups import add_group, call_of, names, send
from tests.support.stores import StoreBed, snapshot
from tests.unit.application.admission.calls import payload
from tutumd.application.admission.fields import DEFAULTS
from tutumd.application.calls import Remembered, evaluate_call
from tutumd.errors import Reason
from tutumd.model import Evaluation, NotQueued
from tutumd.model.groups import GroupAccepted
from tutumd.web.messages.deliveries import write_reason

pytestmark = pytest.mark.dialect
HUB, SHORT = "docker.io/svendowideit/testhook", "svendowideit/testhook"
PUSHED = {
    "dockerhub": (f"{HUB}:latest", SHORT, f"index.docker.io/{SHORT}", f"{HUB}:latest@sha256:{'0' * 64}"),
    "ghcr-package": ("ghcr.io/octo-org/app:v1.2.0",),
    "ghcr-registry-package": ("ghcr.io/octo-org/app:latest", "ghcr.io/octo-org/app", "GHCR.io/octo-org/app"),
    "harbor-push": ("harbor.example.com/library/app:v1.0", "harbor.example.com:443/library/app:v1.0"),
    "harbor-cloudevents": ("harbor.example.com/library/app:v1.0",),
    "quay": ("quay.io/mynamespace/repository:latest", "quay.io/mynamespace/repository:v3"),
    "distribution-push": ("registry.example.com/team/app:v3",),
    "azure-push": ("myregistry.azurecr.io/hello-world:v1",),
    "gitea-package": ("localhost:3000/gitea/app:v2",),
    "diun-update": ("app", "library/app:latest", "docker.io/library/app"),
}
NOTHING = (
    "harbor-pull",
    "harbor-delete",
    "distribution-delete",
    "distribution-pull",
    "gitea-package-deleted",
    "ghcr-untagged",
)


def similar(image: str) -> list[str]:
    """Return images that differ from one in one part."""
    repository, _, tag = image.rpartition(":")
    host, _, path = repository.partition("/")
    return [
        f"{repository}:{tag}-rc1",
        f"{repository}:v0.0.1",
        f"{repository}-worker:{tag}",
        f"{host}/other/{path}:{tag}",
        f"{host}/{path}/{path}:{tag}",
        f"mirror.example.net/{path}:{tag}",
        f"{host}:8443/{path}:{tag}",
        f"{repository}@sha256:{'1' * 64}",
    ]


@pytest.fixture
def services(bed: StoreBed) -> dict[str, str]:
    """Images of the services, by name: those of all payloads, and similar ones."""
    rights = {f"{name}{number}": image for name, images in PUSHED.items() for number, image in enumerate(images)}
    decoys = {
        f"{name}-like{number}": each
        for name, images in PUSHED.items()
        for number, each in enumerate(similar(images[0]))
    }
    bed.sync(*(replace(snapshot(name), image_name=image) for name, image in (rights | decoys).items()))
    return rights


def test_a_payload_reaches_the_services_of_its_image(bed: StoreBed, services: dict[str, str]) -> None:
    group = add_group(bed, image="*")
    options = replace(DEFAULTS, image="*")
    equal = [{"harbor-push", "harbor-cloudevents"}]  # their payloads name the same image
    for name in PUSHED:
        (result,) = send(bed, call_of(group, evaluation=evaluate_call(Remembered(options, 0), payload(name))))
        same = next((each for each in equal if name in each), {name})
        assert isinstance(result, GroupAccepted), name
        assert names(result) == sorted(each for each in services if each.rstrip("0123456789") in same), name
    for name in NOTHING:
        (skipped,) = send(bed, call_of(group, evaluation=evaluate_call(Remembered(options, 0), payload(name))))
        assert isinstance(skipped, NotQueued), name


def test_a_glob_selects_repositories_and_never_widens_the_payload(bed: StoreBed, services: dict[str, str]) -> None:
    for glob, reached in (("ghcr.io/octo-org/*", True), ("ghcr.io/octo-org/app", True), ("ghcr.io/me/*", False)):
        group, options = add_group(bed, image=glob), replace(DEFAULTS, image=glob)
        (result,) = send(bed, call_of(group, evaluation=evaluate_call(Remembered(options, 0), payload("ghcr-package"))))
        assert isinstance(result, GroupAccepted if reached else NotQueued), glob
        assert not isinstance(result, NotQueued) or result.skip == Reason("no-pushed-image")
        assert not isinstance(result, GroupAccepted) or names(result) == ["ghcr-package0"]


def test_a_skipped_call_names_the_pushed_image_that_no_service_runs(bed: StoreBed) -> None:
    (skipped,) = send(
        bed, call_of(add_group(bed, image="*"), evaluation=Evaluation(version=0, pushed=(("ghcr.io/me/app", "v2"),)))
    )
    assert isinstance(skipped, NotQueued)
    assert skipped.skip is not None
    assert write_reason(skipped.skip) == "the owner of the group has no service that runs ghcr.io/me/app:v2"
