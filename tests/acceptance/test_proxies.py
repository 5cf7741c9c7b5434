"""The server behind nginx and Caddy as `deploy/proxies` sets them up with TLS, and the files for Traefik."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.support import guards
from tests.support.caddy_bed import CERTIFICATE, caddy
from tests.support.nginx_bed import nginx
from tests.support.server import LiveServer

PROXIES = Path(__file__).parents[2] / "deploy" / "proxies"
CLIENT = "127.0.0.2"


@contextmanager
def caddy_with_tls(folder: Path, web: int) -> Iterator[tuple[int, Path]]:
    with caddy(folder, [web], tls=True) as port:
        yield port, folder / CERTIFICATE


@contextmanager
def nginx_with_tls(folder: Path, web: int) -> Iterator[tuple[int, Path]]:
    certificate = folder / "fullchain.pem"
    files = ("-keyout", folder / "privkey.pem", "-out", certificate)
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *name], check=True)
    with nginx(folder, (web, web), tls=True) as port:
        yield port, certificate


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    (tmp_path / "server").mkdir()
    with LiveServer(tmp_path / "server", "--engine", "local", "--trusted-proxies", "127.0.0.1/32") as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize(
    "proxy",
    [pytest.param(nginx_with_tls, marks=pytest.mark.nginx), pytest.param(caddy_with_tls, marks=pytest.mark.caddy)],
)
def test_a_call_through_tls_waits_for_its_action_and_is_from_its_client(
    server: LiveServer, tmp_path: Path, proxy: object
) -> None:
    guards.require_programs("curl", "openssl")
    service = server.run_service("web")
    handler = server.make_handler(service)
    path = f"/api/v1/service/{service}/webhook/handler/{handler['uuid']}/"
    (folder := tmp_path / "proxy").mkdir()
    assert callable(proxy)
    with proxy(folder, server.port) as (port, certificate):
        # A header that the client sends itself is not believed.
        sent = ("--interface", CLIENT, "--header", "X-Forwarded-For: 203.0.113.9", "--data", '{"a": 1}')
        url = f"https://localhost:{port}{path}call/?wait=240"
        curl = ["curl", "--silent", "--show-error", "--fail-with-body", "--ipv4", "--cacert", certificate, *sent, url]
        answer = json.loads(subprocess.run(curl, check=True, capture_output=True).stdout)
    assert answer["state"] == "Success"
    (delivery,) = server.objects(f"{path}delivery/")
    assert delivery["ip"] == CLIENT


def test_the_files_of_traefik_name_one_another() -> None:
    static = yaml.safe_load((PROXIES / "traefik-static.yaml").read_text(encoding="utf-8"))
    http = yaml.safe_load((PROXIES / "traefik-dynamic.yaml").read_text(encoding="utf-8"))["http"]
    assert "accessLog" not in static
    assert http.keys() == {"routers", "middlewares", "services"}
    (router,) = http["routers"].values()
    assert router.keys() == {"rule", "entryPoints", "middlewares", "service", "tls"}
    assert set(router["entryPoints"]) <= static["entryPoints"].keys()
    assert router["middlewares"] == list(http["middlewares"])
    assert [router["service"]] == list(http["services"])
    assert router["tls"]["certResolver"] in static["certificatesResolvers"]
    text = (PROXIES / "traefik-dynamic.yaml").read_text(encoding="utf-8")
    assert re.findall(r"Copy this to (\S+),", text) == [static["providers"]["file"]["filename"]]
