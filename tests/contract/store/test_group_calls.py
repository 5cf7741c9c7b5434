"""Calls of groups over HTTP: responses, waits, and the images that payloads name."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.contract.store.test_groups import add_group
from tests.support.replica import Replica
from tests.support.stores import StoreBed, query, snapshot
from tests.support.waiting import wait_until
from tutumd.model import Handler

pytestmark = pytest.mark.dialect
PAYLOADS = Path(__file__).parents[2] / "unit/application/payloads"


def call_path(group: Handler, parameters: str = "") -> str:
    return f"/api/v1/webhook/group/{group.uuid}/call/{parameters}"


def test_a_call_is_accepted_with_a_line_for_each_service(bed: StoreBed, replica: Replica) -> None:
    group = add_group(bed, "web", "db")
    bed.sync(snapshot("web"))
    status, body = replica.request("POST", call_path(group))
    assert (status, body["name"], body["uuid"]) == (202, "all", group.uuid)
    assert body["resource_uri"] == f"/api/v1/webhook/group/{group.uuid}/"
    web, db = body["actions"]
    assert (web["service_name"], web["state"], web["joined"], web["note"]) == ("web", "Pending", False, None)
    assert (db["action"], db["state"], db["note"]) == (None, None, "the service is gone, or no longer permitted")
    status, progress = replica.request("GET", body["status_url"])
    assert (status, progress["state"], len(progress["actions"])) == (200, "Pending", 2)
    bed.finish(bed.claimed())
    assert replica.request("GET", body["status_url"])[1]["state"] == "Success"
    bed.sync()
    status, skipped = replica.request("POST", call_path(group))
    assert (status, skipped["state"]) == (200, "Skipped")
    assert skipped["reason"] == "the owner of the group may not redeploy any of its services now, or none is left"


@pytest.mark.parametrize(("successes", "status"), [((True, True), 200), ((True, False), 502), ((True,), 504)])
def test_a_wait_ends_with_the_last_action(
    bed: StoreBed, replica: Replica, successes: tuple[bool, ...], status: int
) -> None:
    group = add_group(bed, "web", "db")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(replica.request, "POST", call_path(group, f"?wait={60 if status != 504 else 1}"))
        wait_until(bed.has_pending_action, "an action")
        for success in successes:
            assert not waiting.done() or status == 504
            bed.finish(bed.claimed(), success=success)
        got, body = waiting.result(120)
    assert got == status
    # Its second may be over before the first action has ended.
    assert body["state"] in {200: ("Success",), 502: ("Failed",), 504: ("Pending", "In progress")}[status]
    assert len(body["actions"]) == 2


def test_revoked_disabled_and_unknown_groups_are_not_found(bed: StoreBed, replica: Replica) -> None:
    group, disabled = add_group(bed, "web"), add_group(bed, "web", options={"enabled": False})
    bed.store.delete_handler(bed.admin, "", group.uuid)
    responses = [replica.request("POST", call_path(each)) for each in (group, disabled)]
    handler = bed.handler("web")
    responses.append(replica.request("POST", f"/api/v1/webhook/group/{handler.uuid}/call/"))
    as_handler = f"/api/v1/service/{bed.service_uuid('web')}/webhook/handler/{add_group(bed, 'web').uuid}/call/"
    responses.append(replica.request("POST", as_handler))
    assert {status for status, _ in responses} == {404}
    assert not bed.has_pending_action()


HARBOR = ("harbor.example.com/library/app:v1.0", "HARBOR.example.com:443/library/app:v1.0")
IMAGES = {
    "dockerhub": ("svendowideit/testhook",),
    "quay": ("quay.io/mynamespace/repository:v3", "quay.io/mynamespace/repository"),
    "quay-images": ("quay.io/mynamespace/repository",),
    "harbor-push": HARBOR,
    "harbor-cloudevents": HARBOR,
    "distribution-push": ("registry.example.com/team/app:v3",),
    "distribution-mixed": ("registry.example.com/team/app:v3",),
    "azure-push": ("myregistry.azurecr.io/hello-world:v1",),
    "ghcr-package": ("ghcr.io/octo-org/app:v1.2.0",),
    "ghcr-registry-package": ("ghcr.io/octo-org/app:latest",),
    "gitea-package": ("localhost:3000/gitea/app:v2",),
    "diun-update": ("app",),
}
OTHERS = ("ghcr.io/octo-org/app:v9", "octo-org/app:v1.2.0", "evil.example.com/library/app:v1.0", "quay.io/other/app")


def send(replica: Replica, group: Handler, payload: str) -> Any:
    """Send a payload, without the key by which a repetition is recognized."""
    sent = json.loads((PAYLOADS / f"{payload}.json").read_text())
    headers = {name: value for name, value in sent["headers"].items() if not name.endswith("-Delivery")}
    return replica.request("POST", call_path(group), json.dumps(sent["body"]).encode(), headers)


def test_payloads_match_exactly_the_services_of_their_image(bed: StoreBed, replica: Replica) -> None:
    images = dict.fromkeys([*chain(*IMAGES.values()), *OTHERS])
    bed.sync(*(replace(snapshot(f"s{number}"), image_name=image) for number, image in enumerate(images)))
    group = add_group(bed, image="*")
    by_image = {service.image_name: service.name for service in bed.store.services(bed.admin, query()).objects}
    for payload, wanted in IMAGES.items():
        status, body = send(replica, group, payload)
        assert status == 202, (payload, body)
        assert {line["service_name"] for line in body["actions"]} == {by_image[image] for image in wanted}, payload
    for payload in ("ghcr-untagged", "distribution-pull", "harbor-delete", "github-push"):
        assert send(replica, group, payload)[1]["state"] == "Skipped", payload


def test_a_glob_and_the_field_tag_decide_which_images_count(bed: StoreBed, replica: Replica) -> None:
    bed.sync(*(replace(snapshot(name), image_name=f"ghcr.io/{name}/app:stable") for name in ("octo-org", "other")))
    other = add_group(bed, image="ghcr.io/other/*", options={"tag": {"allow": ["v*"], "from": "query"}})
    assert send(replica, other, "ghcr-package")[1]["state"] == "Skipped"
    plain = add_group(bed, image="ghcr.io/octo-org/*")
    assert send(replica, plain, "ghcr-package")[1]["state"] == "Skipped"
    tagged = add_group(bed, image="GHCR.io/octo-org/*", options={"tag": {"allow": ["v*"], "from": "query"}})
    _, body = send(replica, tagged, "ghcr-package")
    assert [line["service_name"] for line in body["actions"]] == ["octo-org"]
    assert bed.claimed().action.tag == "v1.2.0"
