"""Rollback of a service whose image was built on the host: no registry has it, so the worker's seal stands for it."""

import pytest

from tests.acceptance.test_engines_end_to_end import call, version_of
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.server import LiveServer

pytestmark = pytest.mark.slow

NAME = "localhost/mine:latest"


def build(bed: DockerBed, version: str) -> None:
    bed.load({NAME: Image(version=version)})


def test_a_local_build_is_rolled_back_also_after_a_restart(clean_bed: DockerBed, server: LiveServer) -> None:
    build(clean_bed, "a")
    clean_bed.docker("run", "-d", "--name", "web", "--label", "tutum.redeploy.stable=0.5", NAME)
    uuid = str(server.find("web", running_num_containers=1)["uuid"])
    handler = server.add_handler(uuid)
    for version in "bc":
        build(clean_bed, version)
        assert call(server, handler, uuid)["state"] == "Success"
    server.stop()
    server.start()
    for expected in "ba":
        listed = server.request("GET", f"/api/v1/service/{uuid}/image/").json["objects"]
        assert {(image["image_digest"], image["available"]) for image in listed} == {(None, "local")}
        answer = server.request("POST", f"/api/v1/service/{uuid}/rollback/?wait=60")
        assert answer.json["state"] == "Success", answer
        assert version_of(clean_bed, "web") == expected
    assert server.request("POST", f"/api/v1/service/{uuid}/rollback/").status == 409
    assert server.request("DELETE", f"/api/v1/service/{uuid}/hold/").status == 200
    assert call(server, handler, uuid)["state"] == "Success"
    assert version_of(clean_bed, "web") == "c"
