"""The configurations of docs/how-to/dashboard.md, in real proxies: who sees the dashboard, and who signs in where."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.acceptance.accounts import add_member
from tests.acceptance.raw_http import DISGUISED
from tests.support import nginx_bed
from tests.support.api import Api
from tests.support.caddy_bed import caddy
from tests.support.dashboard_bed import serve_edge
from tests.support.documentation import blocks
from tests.support.pages import Visitor
from tests.support.programs import listens, running
from tests.support.server import USER, LiveServer, free_port, request
from tests.support.waiting import wait_until

PAGE = "docs/how-to/dashboard.md"
LOCATION = "    location / {\n        proxy_pass http://tutumd;\n    }\n"
IDENTITIES = """
import http.server, sys
header = sys.argv[2]
class Identities(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        cookies = self.headers.get("Cookie", "")
        name = cookies.partition("identity=")[2].partition(";")[0]
        asked = self.path in ("/oauth2/auth", "/api/authz/forward-auth")
        self.send_response((200 if name else 401) if asked else 403)
        if name not in ("", "anonymous"):
            self.send_header(header, name)
        self.end_headers()
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Identities).serve_forever()
"""
"""Stands for oauth2-proxy or Authelia: the cookie `identity` says who has signed in."""


def block(language: str, begins: str) -> str:
    """Return the configuration of the page that has a line."""
    (found,) = [each.text for each in blocks(PAGE) if each.language == language and begins in each.text]
    return found


@contextmanager
def identities(header: str) -> Iterator[int]:
    """Run the program that knows who has signed in; yield its port."""
    port = free_port()
    with running([sys.executable, "-c", IDENTITIES, str(port), header]):
        wait_until(lambda: listens(port), "the identities are there")
        yield port


def nginx(folder: Path, web: int, locations: str) -> AbstractContextManager[int]:
    """Run nginx with other locations in the place of `location /`; yield its port."""
    config = nginx_bed.CONFIG.read_text()
    assert config.count(LOCATION) == 1
    return nginx_bed.nginx(folder, [web, web], config=config.replace(LOCATION, locations))


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'test.db'}"


def check_identities(server: Api, url: str, header: str) -> None:
    """Check that the proxy's word counts, and nobody else's."""
    member = add_member(server, "bob")
    forged = {header.replace("-", "_"): USER}
    stranger = Visitor(url, **forged)
    assert stranger.send("GET", "/account/").status in (302, 401), "the sign-in of the proxy"
    anonymous = Visitor(url, **forged)
    anonymous.cookies = {"identity": "anonymous"}
    page = anonymous.get("/account/")
    # Caddy 2.6 then sends its own placeholder as a name, which is no user.
    assert page.path.startswith("/sign-in/") or page.status == 403, page.text
    assert USER not in page.text
    bob = Visitor(url, **forged)
    bob.cookies = {"identity": member.name}
    page = bob.get("/account/")
    assert page.find("h1", member.name)
    assert page.submit("Make a key", scope="read").status == 201
    assert Visitor(url, **forged).send("GET", "/api/v1/service/").status == 401, "the API needs a key"
    key = {"Authorization": f"ApiKey {member.name}:{member.key}"}
    assert Visitor(url, **key).send("GET", "/api/v1/service/").status == 200
    for path in DISGUISED:
        for name in (header, header.lower()):
            answer = request(int(url.rpartition(":")[2]), "GET", path, headers={name: USER, "Accept": "text/html"})
            assert answer.status in (302, 303, 400, 401, 404, 405), path
            assert "set-cookie" not in answer.headers, path
            assert USER.encode() not in answer.body, path
    handler = server.make_handler(server.create_service(f"guide-{header}")["uuid"])
    assert Visitor(url).send("POST", handler["url"]).status == 202


def test_oauth2_proxy_and_nginx(tmp_path: Path, database: str) -> None:
    with (
        serve_edge(database, trusted_proxies=["127.0.0.1"], user_header="X-Forwarded-User") as server,
        identities("X-Auth-Request-Preferred-Username") as port,
        nginx(tmp_path / "nginx", server.port, block("nginx", "auth_request").replace(":4180", f":{port}")) as proxy,
    ):
        check_identities(server, f"http://127.0.0.1:{proxy}", "X-Forwarded-User")


@pytest.mark.slow
@pytest.mark.caddy
def test_authelia_and_caddy(tmp_path: Path, database: str) -> None:
    with (
        serve_edge(database, trusted_proxies=["127.0.0.1"], user_header="Remote-User") as server,
        identities("Remote-User") as port,
        caddy(
            tmp_path / "caddy", [server.port], lines=block("caddy", "forward_auth").replace(":9091", f":{port}")
        ) as proxy,
    ):
        check_identities(server, f"http://127.0.0.1:{proxy}", "Remote-User")


def check_networks(server: LiveServer, url: str) -> None:
    """Check that calls and their status are public, and nothing else."""
    handler = server.make_handler(server.create_service(f"networks-{uuid4()}")["uuid"])
    visitor = Visitor(url)
    for path in ("/", "/sign-in/", "/api/v1/service/", "/api/docs", f"/sign-in/link/{'x' * 43}/"):
        assert visitor.send("GET", path).status in (403, 404), path
    called = request(int(url.rpartition(":")[2]), "POST", handler["url"], headers={})
    assert called.status == 202
    assert visitor.send("GET", called.json["status_url"]).status == 200


def test_nginx_shows_the_dashboard_to_one_network(live_server: LiveServer, tmp_path: Path) -> None:
    with nginx(tmp_path / "nginx", live_server.port, block("nginx", "deny all")) as proxy:
        check_networks(live_server, f"http://127.0.0.1:{proxy}")


@pytest.mark.caddy
def test_caddy_shows_the_dashboard_to_one_network(live_server: LiveServer, tmp_path: Path) -> None:
    with caddy(tmp_path / "caddy", [live_server.port], lines=block("caddy", "@outside")) as proxy:
        check_networks(live_server, f"http://127.0.0.1:{proxy}")
