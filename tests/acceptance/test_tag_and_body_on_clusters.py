"""Tags and bodies of calls, from the webhook to the containers: on a real Swarm, and on a small Kubernetes API."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract import swarm_support as swarm
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.kubernetes import api, kubelets
from tests.support.kubernetes.workloads import container, deployment, template
from tests.support.server import Answer, LiveServer

pytestmark = pytest.mark.slow

IMAGE = f"{ANONYMOUS}/app"
BODY = "TUTUM_TRIGGER_BODY"


def action_of(server: LiveServer, answer: Answer) -> dict[str, Any]:
    return dict(server.wait_for_action(answer.headers["x-tutum-action-uri"], timeout_s=240))


def environment(bed: DockerBed) -> tuple[list[str], list[str]]:
    """The variables in the specification, and those of the container that runs, without the image's."""
    (running,) = bed.docker("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=api").split()
    of_container = json.loads(bed.docker("inspect", "--format", "{{json .Config.Env}}", running))
    own = [one for one in of_container if one.partition("=")[0] in (BODY, "KEPT")]
    return swarm.spec(bed, "api")["TaskTemplate"]["ContainerSpec"]["Env"], own


@pytest.mark.nightly
def test_on_swarm_a_call_brings_its_tag_and_its_body(clean_bed: DockerBed, server: LiveServer) -> None:
    bed = clean_bed
    digests = {tag: bed.push("app", version, tag=tag) for tag, version in (("1.0", "v1"), ("2.0", "v2"))}
    swarm.create(bed, "api", f"{IMAGE}:1.0", "--env", "KEPT=1", replicas=1)
    api_uuid = server.find("api", running_num_containers=1)["uuid"]
    url = server.make_handler(api_uuid, tag={"allow": ["2.*", "3.*"]}, pass_body=True)["url"]
    bodies = ("first ünïcode = 'x'\n", "second")
    for body, query in zip(bodies, ("?tag=2.0&wait=140", "?wait=140"), strict=True):
        answer = server.post(url + query, body.encode())
        assert (answer.status, answer.json["state"]) == (200, "Success"), answer
        action = action_of(server, answer)
        assert action["image_after"] == digests["2.0"], action
        # Without a tag in the call it is the service's own, which the first call made 2.0.
        assert swarm.image(bed, "api") == f"{IMAGE}:2.0@{digests['2.0']}"
        wanted = ["KEPT=1", f"{BODY}={body}"]
        assert environment(bed) == (wanted, wanted)
    before = swarm.spec(bed, "api")
    for tag in ("1.0", "2.0@sha256:" + "1" * 64, "..%2Fother"):
        assert server.post(f"{url}?tag={tag}").status == 400
    missing = server.post(f"{url}?tag=3.0&wait=140", b"third")
    assert (missing.status, missing.json["state"]) == (502, "Failed")
    assert f"{IMAGE}:3.0" in missing.json["reason"]
    bed.push("app", "v3-broken", tag="3.0")
    broken = server.post(f"{url}?tag=3.0&wait=140", b"third")
    assert (broken.status, broken.json["state"]) == (502, "Failed")
    action = action_of(server, broken)
    assert (action["rolled_back"], action["image_before"], action["image_after"]) == (False, *[digests["2.0"]] * 2)
    assert swarm.spec(bed, "api") == before
    payload = server.make_handler(api_uuid, tag={"allow": ["1.*"], "from": "body.push_data.tag"})["url"]
    skipped = server.post(payload, b'{"push_data": {"tag": "2.0"}}', Content_Type="application/json")
    assert (skipped.status, skipped.json["state"]) == (200, "Skipped"), skipped
    named = server.post(f"{payload}?wait=140", b'{"push_data": {"tag": "1.0"}}', Content_Type="application/json")
    assert action_of(server, named)["image_after"] == digests["1.0"]
    # A handler that passes no body leaves the variable of the one before alone.
    assert environment(bed)[0] == ["KEPT=1", f"{BODY}=second"]


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
