"""A rollback and its hold on a small Kubernetes API, from the route to the pod template and back."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import DIGESTS
from tests.support.kubernetes import api
from tests.support.kubernetes.workloads import REPOSITORY, deployment, probed
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
MOVING = f"{REPOSITORY}:live"


def stored(cluster: api.FakeCluster) -> tuple[str, dict[str, str]]:
    """Return the image of the template, and the annotations of the workload."""
    found = kube.spec_and_status(cluster, "deployments", "web")
    return found["spec"]["template"]["spec"]["containers"][0]["image"], found["metadata"].get("annotations") or {}


def point_to(cluster: api.FakeCluster, version: str) -> None:
    """Move the tag in the registry."""
    cluster.controllers.image_of = lambda pod, image: image if "@" in image else f"{REPOSITORY}:{version}"


def test_the_template_has_the_digest_of_a_rollback_until_the_first_redeploy_after_the_hold(tmp_path: Path) -> None:
    made: dict[str, Any] = deployment(template=probed())
    made["spec"]["template"]["spec"]["containers"][0]["image"] = MOVING
    with api.running() as cluster:
        point_to(cluster, "v1")
        kube.create(cluster, made)
        environment = {"KUBECONFIG": cluster.write_kubeconfig(tmp_path / "kubeconfig")}
        with LiveServer(tmp_path, "--engine", "kubernetes", environment=environment) as server:
            uuid = server.find("web", running_num_containers=2)["uuid"]
            service = f"/api/v1/service/{uuid}/"
            redeploys, scale_ups = (
                server.make_handler(uuid, operation=each)["url"] for each in ("REDEPLOY", "SCALEUP")
            )
            point_to(cluster, "v2")
            assert server.post(f"{redeploys}?wait=140").json["state"] == "Success"
            images = [(each["number"], each["image_digest"]) for each in server.objects(f"{service}image/")]
            assert images == [(2, DIGESTS["v2"]), (1, DIGESTS["v1"])]

            back = server.request("POST", f"{service}rollback/?wait=140", {"reason": "incident 42"})
            assert back.json["state"] == "Success", back
            pinned = f"{MOVING}@{DIGESTS['v1']}"
            rolled_back = (pinned, {"tutum.image.rolled-back": f"{pinned} {MOVING}"})
            assert stored(cluster) == rolled_back
            assert [server.post(redeploys).status for _ in range(3)] == [202] * 3
            assert server.post(f"{scale_ups}?wait=140").json["state"] == "Success"
            assert (stored(cluster), kube.ready_tags(cluster, "web")) == (rolled_back, ["v1"] * 3)

            assert server.request("DELETE", f"{service}hold/").status == 200
            wait_until(lambda: stored(cluster) == (MOVING, {}), "the name is restored", timeout_s=140)
            wait_until(lambda: kube.ready_tags(cluster, "web") == ["v2"] * 3, "the newest image runs", timeout_s=140)
            wait_until(lambda: len(server.objects(f"{service}image/")) == 4, "the history has it", timeout_s=140)
            actions = [each for each in server.objects("/api/v1/action/") if each["operation"] == "REDEPLOY"]
            assert [each["state"] for each in actions] == ["Success", "Success"], "one redeploy for the three calls"
