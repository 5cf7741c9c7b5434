"""Whatever is sent to the API, the answer is a clear 4xx in JSON, and nothing has changed afterwards."""

import json
from typing import Any

import pytest

from tests.acceptance.raw_http import UNKNOWN, Target, check_refusal

DEEP = 100_000


def _document(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


BAD_HANDLERS = {
    "nothing": b"",
    "not JSON": b"name=x",
    "cut off": b'{"name": "x"',
    "two documents": b"{}{}",
    "null": b"null",
    "a string": b'"x"',
    "a number": b"3",
    "a list of lists": b"[[]]",
    "a list with null": b"[null]",
    "a list with a string": b'["x"]',
    "name is a number": b'{"name": 1}',
    "name is NaN": b'{"name": NaN}',
    "name is infinite": b'{"name": 1e999}',
    "name has 5000 digits": b'{"name": ' + b"9" * 5000 + b"}",
    "name is an object": b'{"name": {"a": 1}}',
    "name of 256 characters": _document(name="ä" * 256),
    "name with a line feed": _document(name="a\nb"),
    "name with NUL": _document(name="a\0b"),
    "name with escape": _document(name="\x1b[31m"),
    "name with DEL": _document(name="\x7f"),
    "name with C1 control": _document(name="\x85"),
    "name is half a character": b'{"name": "\\ud800"}',
    "key is half a character": b'{"\\udfff": "x"}',
    "unknown operation": _document(operation="DESTROY"),
    "operation is a number": _document(operation=1),
    "operation is a list": _document(operation=["REDEPLOY"]),
    "operation is long": _document(operation="x" * 100_000),
    "operation is half a character": b'{"operation": "\\ud800"}',
    "unknown field": _document(uuid=UNKNOWN),
    "unknown long field": _document(**{"k" * 100_000: 1}),
    "deep list": b"[" * DEEP,
    "deep object": b'{"a":' * DEEP,
    "deep and closed": b"[" * DEEP + b"]" * DEEP,
    "not UTF-8": b'{"name": "\xff"}',
    "one bad entry": b'[{"name": "good"}, {"name": 3}]',
    "one bad operation": b'[{"name": "good"}, {"operation": "x"}]',
    "one long name": json.dumps([{"name": "good"}, {"name": "x" * 256}]).encode(),
    "101 entries": json.dumps([{"name": "x"}] * 101).encode(),
}


@pytest.mark.parametrize("body", BAD_HANDLERS.values(), ids=list(BAD_HANDLERS))
def test_a_bad_handler_is_refused(target: Target, body: bytes) -> None:
    check_refusal(target.send("POST", target.handlers, body, "Content-Type: application/json"), 400)


def test_a_trial_with_what_no_call_can_carry_is_refused(target: Target) -> None:
    half = b'"\\ud800"'
    for body in (b"%s", b'"", "address": %s', b'"", "headers": {"a": %s}', b'"", "query": {%s: "a"}'):
        check_refusal(target.send("POST", target.path("Htest/"), b'{"body": ' + body % half + b"}"), 400)
    escaped = target.send("POST", target.path("Htest/"), b'{"body": "{\\"a\\": \\"\\\\ud800\\"}"}')
    assert escaped.status == 200


def test_a_body_over_one_mebibyte_is_refused(target: Target) -> None:
    check_refusal(target.send("POST", target.handlers, _document(name="x" * 1024 * 1024)), 413)


BAD_SERVICES: dict[str, dict[str, Any]] = {
    "no command": {"run_command": None},
    "empty command": {"run_command": "  "},
    "command with NUL": {"run_command": "a\0b"},
    "command with half a character": {"run_command": "\ud800"},
    "command of 1 MB": {"run_command": "x" * 1_000_000},
    "image with NUL": {"image": "a\0b"},
    "image of 100 kB": {"image": "x" * 100_000},
    "no name": {"name": None, "image": ""},
    "blank name": {"name": "  "},
    "long name": {"name": "x" * 256},
    "name with a line feed": {"name": "a\nb"},
    "target below 0": {"target_num_containers": -1},
    "target over the limit": {"target_num_containers": 101},
    "target of 4000 digits": {"target_num_containers": 10**4000},
    "target is a string": {"target_num_containers": "3"},
    "target is a fraction": {"target_num_containers": 1.5},
    "target is true": {"target_num_containers": True},
    "relative working_dir": {"working_dir": "tmp"},
    "working_dir with NUL": {"working_dir": "/tmp/\0"},
    "unknown autorestart": {"autorestart": "SOMETIMES"},
    "envvars are an object": {"container_envvars": {"A": "1"}},
    "envvar without key": {"container_envvars": [{"value": "1"}]},
    "envvar with empty key": {"container_envvars": [{"key": "", "value": "1"}]},
    "envvar key with =": {"container_envvars": [{"key": "A=B", "value": "1"}]},
    "envvar with NUL": {"container_envvars": [{"key": "A", "value": "\0"}]},
    "envvar is a number": {"container_envvars": [{"key": "A", "value": 1}]},
    "unknown engine": {"engine": "nowhere"},
    "unknown field": {"colour": "blue"},
    "field that means nothing here": {"privileged": True},
    "ports of a command": {"container_ports": [{"inner_port": "80"}]},
}


@pytest.mark.parametrize("fields", BAD_SERVICES.values(), ids=list(BAD_SERVICES))
def test_a_bad_service_is_refused(target: Target, fields: dict[str, Any]) -> None:
    good = {"name": "another", "image": "none", "run_command": "sleep 600"}
    check_refusal(target.send("POST", "/api/v1/service/", _document(**(good | fields))), 400)


NOT_CHANGES = {"no command", "no name", "name with a line feed", "blank name", "unknown engine", "ports of a command"}


def test_a_bad_change_is_refused(target: Target) -> None:
    path = f"/api/v1/service/{target.service}/"
    for case in sorted(BAD_SERVICES.keys() - NOT_CHANGES):
        check_refusal(target.send("PATCH", path, _document(**BAD_SERVICES[case])), 400)


def test_a_change_of_nothing_changes_nothing(target: Target) -> None:
    answer = target.send("PATCH", f"/api/v1/service/{target.service}/", b"{}")
    assert answer.status == 200
    assert "x-tutum-action-uri" not in answer.headers


def test_a_taken_name_is_a_conflict(target: Target) -> None:
    body = _document(name="bad-input", image="none", run_command="sleep 600")
    check_refusal(target.send("POST", "/api/v1/service/", body), 409)


LISTS = ["/api/v1/service/", "/api/v1/container/", "/api/v1/action/", "handlers"]
BAD_QUERIES = [
    *[
        "colour=blue",
        "=",
        "%00=1",
        "uuid=%00",
        "uuid=a&uuid=a",
        "uuid__contains=a",
        "uuid__startswith=a&uuid__startswith=b",
    ],
    *(
        f"limit={wrong}"
        for wrong in ("", *["0", "-1", "101", "x", "1e1", "%2B5", "5%20", "%D9%A3", "10&limit=10"], "9" * 5000)
    ),
    *(f"offset={wrong}" for wrong in ("", "-1", "1.5", "9" * 30)),
]


@pytest.mark.parametrize("path", LISTS)
def test_a_bad_query_is_refused(target: Target, path: str) -> None:
    path = target.handlers if path == "handlers" else path
    for query in BAD_QUERIES:
        check_refusal(target.send("GET", f"{path}?{query}"), 400)


BAD_DATES = [
    "",
    "yesterday",
    "2015",
    "2015-13-01",
    "Mon, 99 Oct 2014 11:01:43 %2B0000",
    "Mon, 13 Oct 2014 11:01:43 %2B9999",
    "Mon, 13 Oct 99999999999999 11:01:43 %2B0000",
    "x" * 10_000,
]


@pytest.mark.parametrize("name", ["start_date__gte", "end_date__lte"])
def test_a_bad_date_is_refused(target: Target, name: str) -> None:
    for date in BAD_DATES:
        check_refusal(target.send("GET", f"/api/v1/action/?{name}={date.replace(' ', '%20')}"), 400)


ODD_QUERIES = ["%", "%zz", "%ED%A0%80", "%FF", "%F0%9F%90%B3", "'--", "%25", "_", "[]", "x" * 10_000]


@pytest.mark.parametrize("name", ["name", "uuid", "uuid__startswith"])
def test_an_odd_filter_finds_nothing(target: Target, name: str) -> None:
    for value in ODD_QUERIES:
        answer = target.send("GET", f"{target.handlers}?{name}={value}")
        assert (answer.status, answer.json["objects"], answer.json["meta"]["total_count"]) == (200, [], 0), value


def test_a_date_at_the_end_of_time_is_a_date(target: Target) -> None:
    for date in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"):
        assert target.send("GET", f"/api/v1/action/?start_date__gte={date}").status == 200
