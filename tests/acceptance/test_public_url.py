"""A server with a public URL, also below a path of a real nginx: every URL that is handed out works."""

import json
from pathlib import Path

import pytest

import tutum
from tests.acceptance.console import Console
from tests.support.nginx_bed import nginx_below_a_path
from tests.support.server import APIKEY, USER, LiveServer, free_port, request

PUBLIC = "https://hooks.example.com"


@pytest.mark.slow
def test_whatever_prints_or_returns_a_url_begins_it_with_the_public_one(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--engine", "local", "--public-url", f"{PUBLIC}/") as server:
        console, service = Console(server), server.create_service("web")["uuid"]
        url = console.hook("create", "web", "-n", "ci").split()[1]
        assert url.startswith(f"{PUBLIC}/api/v1/service/{service}/webhook/handler/")
        assert console.hook("show", "web", "ci", "--url") == f"{url}\n"
        for sender in ("github", "gitlab", "dockerhub", "alertmanager", "curl"):
            assert url in console.hook("show", "web", "ci", "--for", sender)
        (listed,) = json.loads(console.hook("list", "web", "--json"))
        assert (listed["call_url"], listed["url"]) == (url, url.removeprefix(PUBLIC))
        assert console.shown("web", "ci")["call_url"] == url
        rotated = console.hook("rotate", "web", "ci").split()[1]
        assert rotated.startswith(f"{PUBLIC}/api/v1/")
        assert [handler["call_url"] for handler in json.loads(console.hook("unused", "--days", "0", "--json"))] == [
            rotated
        ]
        assert f"url={PUBLIC}" in server.log


@pytest.mark.slow
@pytest.mark.parametrize(
    "is_kept", [pytest.param(True, id="kept", marks=pytest.mark.nightly), pytest.param(False, id="taken away")]
)
def test_a_public_url_below_a_path_of_nginx_works(tmp_path: Path, is_kept: bool) -> None:
    port, public = free_port(), "/team/hooks"
    root = f"http://127.0.0.1:{port}{public}"
    with (
        LiveServer(tmp_path, "--engine", "local", "--public-url", root) as server,
        nginx_below_a_path(tmp_path / "nginx", port, public, server.port, is_kept=is_kept),
    ):
        server.run_service("web")
        client = tutum.Client(user=USER, apikey=APIKEY, base_url=f"{root}/api/v1/")
        (web,) = tutum.Service.list(client=client, name="web")
        webhook = tutum.WebhookHandler.fetch(web)
        webhook.add("ci")
        (handler,) = webhook.save()
        assert handler.call_url == root + handler.url
        called = request(port, "POST", f"{public}{handler.url}?wait=60", headers={})
        assert (called.status, called.json["state"]) == (200, "Success"), called
        accepted = webhook.call(handler.uuid)
        assert accepted.poll(wait=60).succeeded
        assert accepted.action.wait(60).succeeded
        assert request(server.port, "POST", handler.url, headers={}).status == 202, "without the proxy"
        page = request(port, "GET", f"{public}/api/docs", headers={}).body.decode()
        for name in ("openapi.json", "docs/swagger-ui.css"):
            assert f"{public}/api/{name}" in page
            assert request(port, "GET", f"{public}/api/{name}", headers={}).status == 200
        document = request(port, "GET", f"{public}/api/openapi.json", headers={}).json
        assert document["servers"] == [{"url": public}]
        client.close()
