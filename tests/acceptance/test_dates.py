"""Dates and counts of the API: one form in all objects, but for the three dates that clients of 2015 read."""

import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.acceptance.console import Console
from tests.support.server import LiveServer

OF_2015 = {"deployed_datetime", "start_date", "end_date"}
OURS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
NAMES = re.compile(r"datetime|.*_datetime|time|start_date|end_date|gone_since|old_until")
COUNTS = ("containers_before", "containers_after")


def fields_in(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each field of each object in a document."""
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from fields_in(each)
    if isinstance(value, dict):
        yield from value.items()


@pytest.mark.slow
def test_each_date_has_its_form_and_each_count_is_a_number(live_server: LiveServer, console: Console) -> None:
    server, service = live_server, live_server.run_service("dated")
    hook = server.make_handler(service, name="dated", expires_datetime="Fri, 01 Jan 2100 00:00:00 +0000", max_uses=9)
    called = server.post(f"{hook['url']}?wait=60")
    assert called.json["state"] == "Success"
    rotated = server.request("POST", f"{hook['resource_uri']}rotate/", {"grace": 600}).json
    (action,) = server.request("GET", f"/api/v1/action/?object={service}&limit=1").json["objects"]
    paths = (
        f"/api/v1/service/{service}/",
        server.service(service)["containers"][0],
        rotated["resource_uri"],
        f"{rotated['resource_uri']}delivery/",
        action["resource_uri"],
        f"{action['resource_uri']}logs/",
        called.json["status_url"],
        "/api/v1/audit/",
        "/api/v1/apikey/",
        "/api/v1/webhook/handler/?unused_days=0",
    )
    found: set[str] = set()
    for path in paths:
        for name, value in fields_in(server.request("GET", path).json):
            if name in COUNTS:
                assert isinstance(value, int), (path, name)
            if not NAMES.fullmatch(name) or value is None:
                continue
            found.add(name)
            if name in OF_2015:
                assert parsedate_to_datetime(value), (path, name)
            else:
                assert OURS.fullmatch(value), (path, name, value)
    ours = {"created_datetime", "received_datetime", "started_datetime", "ended_datetime", "old_until", "time"}
    assert found >= OF_2015 | ours
    assert rotated["expires_datetime"] == "2100-01-01T00:00:00Z"
    counts = [action[name] for name in COUNTS]
    assert counts == [len(action[f"container_uris_{when}"]) for when in ("before", "after")]
    assert counts == [called.json[name] for name in COUNTS] == [1, 1]
    shown = console.hook("show", service, "dated")
    assert "2100-01-01T00:00:00Z" in shown and "just now" in shown
