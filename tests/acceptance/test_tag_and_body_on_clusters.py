"""Tags and bodies of calls, from the webhook to the containers: on a small Kubernetes API."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.support.kubernetes import api, kubelets
from tests.support.kubernetes.workloads import container, deployment, template
from tests.support.server import Answer, LiveServer

pytestmark = pytest.mark.slow
BODY = "TUTUM_TRIGGER_BODY"


def action_of(server: LiveServer, answer: Answer) -> dict[str, Any]:
    return dict(server.wait_for_action(answer.headers["x-tutum-action-uri"], timeout_s=240))


def test_on_kubernetes_a_call_brings_its_tag_and_its_body(tmp_path: Path) -> None:
    digests = {tag: kubelets.digest_of(f"registry.test/app:{tag}").partition("@")[2] for tag in ("v1", "v2")}
    with api.running() as cluster:
        environment = {"KUBECONFIG": cluster.write_kubeconfig(tmp_path / "kubeconfig")}
        kept = {"name": "KEPT", "value": "a-secret"}
        kube.create(cluster, deployment(template=template(container(env=[kept], probed=True))))
        with LiveServer(tmp_path, "--engine", "kubernetes", environment=environment) as server:
            service = server.find("web", running_num_containers=2)["uuid"]
            url = server.make_handler(service, tag={"allow": ["v2", "missing"]}, pass_body=True)["url"]
            for body, query in (("first ünïcode\n", "?tag=v2&wait=140"), ("second", "?wait=140")):
                answer = server.post(url + query, body.encode())
                assert (answer.status, answer.json["state"]) == (200, "Success"), answer
                assert action_of(server, answer)["image_after"] == digests["v2"]
                spec = kube.spec_and_status(cluster, "deployments", "web")["spec"]
                (main,) = spec["template"]["spec"]["containers"]
                env = sorted(main["env"], key=lambda one: one["name"])  # the API puts new ones first
                assert (main["image"], env) == ("registry.test/app:v2", [kept, {"name": BODY, "value": body}])
            assert server.post(f"{url}?tag=v3").status == 400
            failed = server.post(f"{url}?tag={kubelets.MISSING}&wait=140", b"third")
            assert (failed.status, failed.json["state"]) == (502, "Failed")
            assert action_of(server, failed)["rolled_back"]
            assert kube.spec_and_status(cluster, "deployments", "web")["spec"] == spec
        for path in server.data.rglob("*"):
            assert not path.is_file() or b"a-secret" not in path.read_bytes(), path
