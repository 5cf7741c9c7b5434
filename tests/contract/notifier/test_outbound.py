"""Requests to receivers: whatever a receiver does, there is a result in time, without a secret."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from threading import Event

import pytest

from tests.contract.notifier.receiver import Behave, answers, receiver
from tests.support.https_site import make_certificate
from tutumd.notifier.outbound import BODY_BYTES, MAX_ADDRESSES, Outbound, Response, UnreachableError

LOOPBACK = [ip_network("127.0.0.0/8")]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "s3cr3t-path"


def outbound(*addresses: str, allowed: Sequence[str] = ("127.0.0.0/8",), **given: object) -> Outbound:
    return Outbound(
        [ip_network(network) for network in allowed],
        user_agent="tutumd/1",
        resolve=lambda host, port: addresses or ("127.0.0.1",),
        now=lambda: NOW,
        limits_s=(2.0, 2.0),
        **given,  # type: ignore[arg-type] # as the caller gives it
    )


def post(client: Outbound, port: int, *, scheme: str = "http", host: str = "hooks.test") -> Response:
    return client.post(f"{scheme}://{host}:{port}/{SECRET}?token={SECRET}", {"x-token": SECRET}, b"{}")


def fail(client: Outbound, port: int, *, scheme: str = "http", host: str = "hooks.test") -> UnreachableError:
    with pytest.raises(UnreachableError) as caught:
        post(client, port, scheme=scheme, host=host)
    assert SECRET not in str(caught.value)
    return caught.value


def hang(connection: socket.socket, ended: Event) -> None:
    ended.wait()


def send_byte_by_byte(connection: socket.socket, ended: Event) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100:
        connection.sendall(bytes([byte]))
        if ended.wait(0.05):
            break


def repeat(start: bytes, part: bytes) -> Behave:
    def behave(connection: socket.socket, ended: Event) -> None:
        connection.sendall(start)
        while not ended.is_set():
            connection.sendall(part)

    return behave


def say(text: bytes) -> Behave:
    return lambda connection, _: connection.sendall(text)


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        pytest.param(hang, "did not respond completely within 15 s", id="hangs"),
        pytest.param(send_byte_by_byte, "did not respond completely within 15 s", id="a byte at a time"),
        pytest.param(lambda *_: None, "closed the connection before it responded", id="closes at once"),
        pytest.param(say(f"220 mail {SECRET}\r\n\r\n".encode()), "is not HTTP/1.1", id="garbage"),
        pytest.param(say(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000), "longer than 100 kB", id="1 MB of headers"),
        pytest.param(repeat(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "is not HTTP/1.1", id="endless hints"),
    ],
)
def test_a_receiver_that_gives_no_response(behave: Behave, reason: str) -> None:
    with receiver(behave) as server:
        error = fail(outbound(), server.port)
        assert reason in str(error)
        assert str(error).count("hooks.test") == 1
        assert not error.is_final


@pytest.mark.parametrize(
    ("behave", "length"),
    [
        pytest.param(repeat(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000), BODY_BYTES, id="endless body"),
        pytest.param(say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), 3, id="half a body"),
        pytest.param(answers(200, body=b"ok"), 2, id="a whole body"),
    ],
)
def test_4_kib_of_a_body_are_read(behave: Behave, length: int) -> None:
    with receiver(behave) as server:
        response = post(outbound(), server.port)
        assert (response.status, len(response.body)) == (200, length)


def test_a_redirect_is_a_response() -> None:
    with receiver(answers(302, "Location: http://127.0.0.1/admin")) as server:
        assert post(outbound(), server.port).status == 302
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("31536000", 31_536_000.0),
        ("Thu, 01 Jan 2026 01:00:00 GMT", 3600.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    with receiver(answers(503, f"Retry-After: {header}")) as server:
        assert post(outbound(), server.port).retry_after_s == seconds


def test_a_host_is_resolved_once_and_that_address_is_used() -> None:
    answers_of_dns = iter([["127.0.0.1"], ["127.0.0.2"]])
    client = Outbound(
        LOOPBACK, user_agent="tutumd/1", resolve=lambda host, port: next(answers_of_dns), limits_s=(2.0, 2.0)
    )
    with receiver(answers(200)) as server:
        assert post(client, server.port).status == 200
        assert f"\r\nHost: hooks.test:{server.port}\r\n".encode() in server.requests[0]
    assert next(answers_of_dns) == ["127.0.0.2"]


@pytest.mark.parametrize(
    ("addresses", "scheme", "allowed", "reason"),
    [
        (["127.0.0.1"], "https", [], "hooks.test has a loopback address, which --notify-allow"),
        (["127.0.0.1", "169.254.169.254"], "http", ["0.0.0.0/0"], "has a link-local or metadata address"),
        (["8.8.8.8"], "http", [], "has a public address, which --notify-allow"),
    ],
)
def test_nothing_connects_to_a_refused_address(
    addresses: Sequence[str], scheme: str, allowed: Sequence[str], reason: str
) -> None:
    with receiver(answers(200)) as server:
        error = fail(outbound(*addresses, allowed=allowed), server.port, scheme=scheme)
        assert reason in str(error)
        assert error.is_final
        assert not server.requests


def test_the_next_addresses_are_tried_but_not_thousands() -> None:
    with receiver(answers(200)) as server:
        assert post(outbound(*["127.0.0.77"] * (MAX_ADDRESSES - 1), "127.0.0.1"), server.port).status == 200
        fail(outbound(*["127.0.0.77"] * MAX_ADDRESSES, "127.0.0.1"), server.port)


def test_a_port_that_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert str(fail(outbound(), port)) == "hooks.test cannot be reached: Connection refused"


def test_a_resolver_that_hangs() -> None:
    ended = Event()
    client = Outbound(LOOPBACK, user_agent="", resolve=lambda host, port: [str(ended.wait())], limits_s=(0.1, 2.0))
    try:
        assert str(fail(client, 80)) == "hooks.test was not resolved within 5 s"
    finally:
        ended.set()


class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Iterator[Path]:
        make_certificate(tmp_path / "pem", 30)
        yield tmp_path / "pem"

    def test_the_certificate_must_be_of_the_host(self, certificate: Path) -> None:
        client = outbound(tls=ssl.create_default_context(cafile=certificate))
        with receiver(answers(204), certificate) as server:
            assert post(client, server.port, scheme="https", host="localhost").status == 204
            error = fail(client, server.port, scheme="https")
            assert "TLS with hooks.test failed: Hostname mismatch" in str(error)
            error = fail(outbound(), server.port, scheme="https", host="localhost")
            assert "TLS with localhost failed: self-signed certificate" in str(error)

    def test_a_server_without_tls(self) -> None:
        with receiver(answers(200)) as server:
            assert "did not accept the connection" in str(fail(outbound(), server.port, scheme="https"))


def test_a_proxy_is_used_only_if_it_is_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(answers(403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass%40word@127.0.0.1:{proxy.port}")
        client = outbound("127.0.0.1", allowed=[])
        with pytest.raises(UnreachableError, match="the proxy of HTTPS_PROXY refused to connect to hooks"):
            client.post("https://hooks.test/", {}, b"{}", may_use_proxy=True)
        assert proxy.requests[0].startswith(b"CONNECT hooks.test:443 HTTP/1.1\r\n")
        with pytest.raises(UnreachableError, match="a private address"):
            client.post("https://10.0.0.1/", {}, b"{}", may_use_proxy=True)
        with pytest.raises(UnreachableError, match="a loopback address"):
            client.post("https://hooks.test/", {}, b"{}")
        assert len(proxy.requests) == 1
