"""Fetching the keys of issuers: whatever an issuer does, there is a result in time."""

import json
import socket
from ipaddress import ip_network
from threading import Event

import pytest

from tests.contract.notifier.receiver import Behave, Receiver, answers, receiver
from tests.support.waiting import wait_until
from tests.unit.notifier.test_loop import Queue
from tutumd.notifier.issuers import fetch_due, fetch_keys
from tutumd.notifier.outbound import DOCUMENT_BYTES, Outbound, UnreachableError

OUTBOUND = Outbound([ip_network("127.0.0.0/8")], user_agent="tutumd/1", limits_s=(2.0, 2.0))
KEYS = {"keys": [{"kid": "a"}]}


def json_answer(document: object) -> Behave:
    return answers(200, body=json.dumps(document).encode())


def issuer(keys: Behave, **changes: object) -> tuple[list[Receiver], Behave]:
    """Return the behaviour of an issuer, and a list to which the test adds the server."""
    servers: list[Receiver] = []

    def behave(connection: socket.socket, ended: Event) -> None:
        (server,) = servers
        url = f"http://127.0.0.1:{server.port}"
        is_discovery = server.requests[-1].startswith(b"GET /.well-known/openid-configuration HTTP/1.1\r\n")
        document = {"issuer": url, "jwks_uri": f"{url}/keys"} | changes
        (json_answer(document) if is_discovery else keys)(connection, ended)

    return servers, behave


def fetch(keys: Behave, **changes: object) -> tuple[str, int]:
    """Return the fetched keys and the number of requests."""
    servers, behave = issuer(keys, **changes)
    with receiver(behave) as server:
        servers.append(server)
        try:
            return fetch_keys(OUTBOUND, f"http://127.0.0.1:{server.port}"), len(server.requests)
        except UnreachableError as error:
            return str(error).replace(f":{server.port}", ""), len(server.requests)


def test_keys_of_the_discovery_document() -> None:
    keys, requests = fetch(json_answer(KEYS))
    assert json.loads(keys) == KEYS
    assert requests == 2


def endless(connection: socket.socket, ended: Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not ended.is_set():
        connection.sendall(b" " * 10_000)


def hang(connection: socket.socket, ended: Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n{")
    ended.wait()


@pytest.mark.parametrize(
    ("keys", "changes", "reason", "requests"),
    [
        pytest.param(answers(500), {}, "127.0.0.1 responded with the status 500", 2, id="a fault"),
        pytest.param(answers(302, "Location: /other"), {}, "127.0.0.1 responded with the status 302", 2, id="redirect"),
        pytest.param(answers(200, body=b"<html>"), {}, "127.0.0.1 sent no JSON object", 2, id="HTML"),
        pytest.param(answers(200, body=b"[" * 100_000), {}, "127.0.0.1 sent no JSON object", 2, id="deep JSON"),
        pytest.param(
            answers(200, body=b'{"keys":' + b"[" * 200 + b"]" * 200 + b"}"),
            {},
            "127.0.0.1 sent no JSON object",
            2,
            id="JSON of 200 levels",
        ),
        pytest.param(json_answer({"keys": 1}), {}, "http://127.0.0.1 sent no JSON Web Key Set", 2, id="no keys"),
        pytest.param(
            answers(200, body=b" " * (DOCUMENT_BYTES + 1)), {}, "127.0.0.1 sent more than 1 MiB", 2, id="long"
        ),
        pytest.param(endless, {}, "127.0.0.1 sent more than 1 MiB", 2, id="endless"),
        pytest.param(hang, {}, "127.0.0.1 did not respond completely within 5 s", 2, id="slow"),
        *(
            pytest.param(
                json_answer(KEYS), {"jwks_uri": url}, "the keys of http://127.0.0.1 are not on the same host", 1
            )
            for url in ("http://127.0.0.1:1/keys", "http://evil.example/keys", "http://me@127.0.0.1/", "/keys", None)
        ),
        pytest.param(
            json_answer(KEYS),
            {"issuer": "http://127.0.0.1/"},
            "the discovery document of http://127.0.0.1 names another issuer",
            1,
            id="another issuer",
        ),
    ],
)
def test_an_issuer_without_usable_keys(keys: Behave, changes: dict[str, object], reason: str, requests: int) -> None:
    assert fetch(keys, **changes) == (reason, requests)


def test_a_document_of_1_mib_is_read() -> None:
    body = json.dumps({"keys": ["x" * (DOCUMENT_BYTES - 20)]}).encode()
    keys, _ = fetch(answers(200, body=body))
    assert len(keys) == len(body) <= DOCUMENT_BYTES


def test_an_address_that_is_not_public_is_not_asked() -> None:
    with receiver(answers(200)) as server, pytest.raises(UnreachableError, match="a loopback address, which --notify"):
        fetch_keys(Outbound([], user_agent=""), f"http://127.0.0.1:{server.port}")


def test_an_issuer_that_hangs_delays_no_other() -> None:
    queue = Queue(0)
    servers, behave = issuer(json_answer(KEYS))
    with receiver(hang) as slow, receiver(behave) as quick:
        servers.append(quick)
        slow_url, quick_url = (f"http://127.0.0.1:{each.port}" for each in (slow, quick))
        queue.issuers += [quick_url, slow_url]
        fetch_due(queue, OUTBOUND)
        wait_until(lambda: quick_url in queue.keys, "keys")
        assert slow_url not in queue.keys
        wait_until(lambda: slow_url in queue.keys, "the time limit")
    assert queue.keys[quick_url] == (json.dumps(KEYS), "")
    assert "did not respond completely" in queue.keys[slow_url][1]
