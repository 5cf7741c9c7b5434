"""`/metrics`: closed by default, one scrape for both processes, and an answer whatever the database does."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.acceptance.raw_http import exchange, request
from tests.support.postgres_bed import PostgresBed
from tests.support.server import Answer, LiveServer
from tests.support.waiting import wait_until
from tutum.version import __version__

TOKEN = "token-of-the-scrapes-0123456789"
BUILD = f"tutumd_build_info {__version__}"
BEARER = f"Authorization: Bearer {TOKEN}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    environment = {"TUTUMD_METRICS_TOKEN": TOKEN}
    with LiveServer(tmp_path_factory.mktemp("metrics"), "--engine", "local", environment=environment) as server:
        yield server


def scrape(server: LiveServer, *headers: str) -> Answer:
    return exchange(server, request("GET", "/metrics", headers=headers))


def values(server: LiveServer) -> dict[str, float]:
    """Return all samples, each by its name and label values."""
    answer = scrape(server, BEARER)
    assert answer.status == 200, answer
    return {
        " ".join((sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "le"))): sample.value
        for family in parse_text(answer.body.decode())
        for sample in family.samples
        if sample.labels.get("le") in (None, "+Inf")
    }


def whole(server: LiveServer) -> dict[str, float]:
    """Return all samples of a scrape for which the database answered in time."""
    return wait_until(lambda: (seen := values(server))["tutumd_database_up"] == 1 and seen, "the database is read")


def test_the_metrics_are_closed_by_default(live_server: LiveServer) -> None:
    for headers in ([], [BEARER], ["Authorization: Bearer "]):
        answer = scrape(live_server, *headers)
        assert (answer.status, b"TUTUMD_METRICS_TOKEN" in answer.body) == (404, True)


@pytest.mark.slow
@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer x", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xe9"])
def test_the_metrics_need_the_token(server: LiveServer, sent: str) -> None:
    answer = scrape(server, f"Authorization: {sent}")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert TOKEN.encode() not in answer.body


@pytest.mark.slow
def test_one_scrape_shows_the_work_of_both_processes(server: LiveServer) -> None:
    service = server.run_service("measured")
    handler = server.make_handler(service)
    before = whole(server)
    assert before[BUILD] == before["tutumd_engine_up local"] == 1
    assert before["tutumd_actions_total local REDEPLOY failed"] == 0
    assert server.post(f"{handler['url']}?wait=120").status == 200
    assert server.post(handler["url"].replace("/handler/", "/handler/0")).status == 404
    after = whole(server)
    changed = {name: after[name] - before.get(name, 0) for name in after}
    assert changed["tutumd_calls_total accepted"] == changed["tutumd_calls_total not_found"] == 1
    assert changed["tutumd_call_duration_seconds_count"] == 2
    assert changed["tutumd_call_batch_size_count"] >= 1
    assert changed["tutumd_actions_total local REDEPLOY success"] == 1
    assert changed["tutumd_action_duration_seconds_bucket local REDEPLOY"] == 1
    assert after["tutumd_slots local"] == 16
    assert "tutumd_lease_takeovers_total" in after
    text = scrape(server, BEARER).body.decode()
    assert [private for private in ("measured", service, handler["uuid"], "127.0.0.1") if private in text] == []


def test_the_duration_of_a_call_ends_before_it_waits_for_its_action(server: LiveServer) -> None:
    url = server.make_handler(server.run_service("waited-for"), debounce=3600)["url"]
    before = values(server)["tutumd_call_duration_seconds_count"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.post, f"{url}?wait=120")
        wait_until(lambda: values(server)["tutumd_call_duration_seconds_count"] == before + 1, "the call is measured")
        assert not waiting.done()
        (action,) = server.request("GET", "/api/v1/action/?state=Pending").json["objects"]
        server.request("POST", f"{action['resource_uri']}cancel/")
        assert waiting.result().status == 502


def test_a_client_that_reads_openmetrics_gets_it(server: LiveServer) -> None:
    accept = "Accept: application/openmetrics-text; version=1.0.0; charset=utf-8,text/plain;q=0.5"
    answer = scrape(server, BEARER, accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in parse_openmetrics(answer.body.decode())}  # type: ignore[no-untyped-call] # it has no types
    assert {"tutumd_calls", "tutumd_actions", "tutumd_action_duration_seconds"} <= names


@pytest.mark.slow
def test_networks_open_the_metrics_without_a_token(tmp_path: Path) -> None:
    options = ("--engine", "local", "--metrics-allow-from", "127.0.0.1", "--metrics-allow-from", "192.0.2.0/24")
    with LiveServer(tmp_path, *options) as server:
        assert scrape(server).status == 200
        # The proxy that forwards this is not trusted: its own address would let everybody in.
        for header in ("X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1"):
            assert scrape(server, header).status == 403


@pytest.mark.slow
def test_behind_a_trusted_proxy_the_forwarded_address_counts(tmp_path: Path) -> None:
    options = ("--engine", "local", "--metrics-allow-from", "192.0.2.0/24", "--trusted-proxies", "127.0.0.1")
    with LiveServer(tmp_path, *options) as server:
        assert scrape(server, "X-Forwarded-For: 192.0.2.7").status == 200
        assert scrape(server, "X-Forwarded-For: 192.0.2.7, 198.51.100.1").status == 403
        assert scrape(server).status == 403


@pytest.mark.slow
def test_the_metrics_say_so_while_the_database_hangs_or_is_gone(postgres_bed: PostgresBed, tmp_path: Path) -> None:
    options = ("--engine", "local", "--database", postgres_bed.new_database())
    with LiveServer(tmp_path, *options, environment={"TUTUMD_METRICS_TOKEN": TOKEN}) as server:

        def expect_down() -> None:
            seen = values(server)  # while the database hangs, which it does until the test lets it go on
            assert seen["tutumd_database_up"] == 0
            assert seen[BUILD] == 1
            assert "tutumd_calls_total accepted" in seen
            assert not {name for name in seen if name.startswith(("tutumd_engine", "tutumd_actions"))}

        whole(server)
        postgres_bed.send_to_all(signal.SIGSTOP)
        try:
            expect_down()
        finally:
            postgres_bed.send_to_all(signal.SIGCONT)
        whole(server)
        postgres_bed.stop_server()
        try:
            expect_down()
        finally:
            postgres_bed.start_server()
        whole(server)
