"""Two Compose projects with a `web` each: how a person names one, and gets rid of what is gone."""

import json
from pathlib import Path

import pytest

from tests.acceptance.console import Console
from tests.support.docker_bed import DockerBed
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

COMPOSE = "services: {web: {image: 'app:v1', stop_grace_period: 0s}}\n"


def test_two_projects_with_a_web_each(clean_bed: DockerBed, server: LiveServer, tmp_path: Path) -> None:
    shop, blog = tmp_path / "shop", tmp_path / "blog"
    for folder in (shop, blog):
        folder.mkdir()
        (folder / "compose.yaml").write_text(COMPOSE)
        clean_bed.compose(folder, "up", "-d")
    of_shop, of_blog = (server.find("web", stack=stack, running_num_containers=1) for stack in ("shop", "blog"))
    tutum = Console(server)
    container = clean_bed.docker("ps", "--format", "{{.Names}}", "--filter", "label=com.docker.compose.project=blog")

    told = tutum("service", "inspect", "web", code=3).splitlines()
    assert f"  {of_shop['uuid']}  shop/web on docker" in told
    assert f"  {of_blog['uuid']}  blog/web on docker" in told
    for reference in ("blog/web", container, of_blog["uuid"][:13]):
        assert json.loads(tutum("service", "inspect", reference))["uuid"] == of_blog["uuid"]
    assert tutum("service", "ps", "-q", "--stack", "shop").split() == [of_shop["uuid"]]
    url = tutum.hook("create", "blog/web").split()[1]

    clean_bed.compose(blog, "down")
    wait_until(lambda: server.service(of_blog["uuid"])["gone_since"], "blog/web is gone")
    assert json.loads(tutum("service", "inspect", "web"))["uuid"] == of_shop["uuid"]
    assert "blog/web" not in tutum("service", "ps")
    assert "Gone since 20" in tutum("service", "ps", "--all")
    assert "1 webhook handler" in tutum("service", "forget", "blog/web", code=2)
    assert "1 webhook handler" in tutum("service", "forget", "blog/web", "--force")
    tutum("service", "inspect", "blog/web", code=3)

    clean_bed.compose(blog, "up", "-d")
    assert server.find("web", stack="blog", running_num_containers=1)["uuid"] == of_blog["uuid"]
    assert server.request("POST", url.removeprefix(server.url), authorization=None).status == 404
    assert "no webhook handlers" in tutum.hook("list", "blog/web")
    clean_bed.compose(blog, "down")
