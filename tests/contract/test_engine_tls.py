"""An engine that is reached over TCP with TLS: certificates of both ends, as `dockerd --tlsverify` wants them."""

import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import AF_UNIX, SHUT_WR, socket
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread

import pytest

from tests.bench.fake_docker import FakeDocker
from tests.support.programs import check
from tutumd.engines.docker.engine import DockerEngine
from tutumd.engines.dockerapi.connection import connect
from tutumd.errors import EngineUnavailableError, SettingsError

_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


def make_certificates(folder: Path, names: str = _NAMES) -> Path:
    """Make a folder as DOCKER_CERT_PATH wants it, whose `cert.pem` is the engine's as well."""
    new_key = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-x509", "-days", "2"]
    ca = ["-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca-key.pem")]
    for name, options in (("ca", ["-subj", "/CN=test ca"]), ("cert", ["-subj", "/CN=test", "-addext", names, *ca])):
        key = "key" if name == "cert" else f"{name}-key"
        check([*new_key, *options, "-keyout", str(folder / f"{key}.pem"), "-out", str(folder / f"{name}.pem")])
    return folder


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def served(certificates: Path, engine_socket: Path) -> Iterator[str]:
    """Run a fake engine behind a server that speaks TLS with who has a certificate of the authority's."""
    engine = FakeDocker(engine_socket, 1)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    class Forward(BaseRequestHandler):
        def handle(self) -> None:
            with socket(AF_UNIX) as inner:
                try:
                    with context.wrap_socket(self.request, server_side=True) as outer:
                        inner.connect(str(engine_socket))
                        back = Thread(target=_copy, args=(inner, outer))
                        back.start()
                        _copy(outer, inner)
                        back.join()
                except OSError:
                    return

    ThreadingTCPServer.allow_reuse_address = True
    with ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        server.daemon_threads = True
        serving = Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield f"tcp://127.0.0.1:{server.server_address[1]}"
        finally:
            engine.close()
            server.shutdown()
            serving.join()


@pytest.fixture
def address(certificates: Path, tmp_path: Path) -> Iterator[str]:
    with served(certificates, tmp_path / "docker.sock") as address:
        yield address


def _copy(source: socket, target: socket) -> None:
    try:
        while received := source.recv(65536):
            target.sendall(received)
        target.shutdown(SHUT_WR)
    except OSError:
        return


def engine(address: str, **environment: str) -> DockerEngine:
    return DockerEngine("docker", address, config_dir=None, server_cap=10, environment=environment)


def test_an_engine_with_tls_is_used_and_watched_whatever_authorities_the_environment_names(
    address: str, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "others.pem").write_text("")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "others.pem"))
    opened = engine(address, DOCKER_CERT_PATH=str(certificates), DOCKER_TLS_VERIFY="1")
    changed, stop = Event(), Event()
    watching = Thread(target=opened.watch, args=(changed.set, stop))
    try:
        assert [one.name for one in opened.discover()] == ["app-1"]
        watching.start()
        assert changed.wait(60)
        stop.set()
        watching.join(60)
        assert not watching.is_alive()
    finally:
        stop.set()
        opened.close()


def test_an_engine_whose_certificate_is_not_the_authoritys_is_not_talked_to(
    address: str, certificates: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("cert.pem", "key.pem"):
        (other / name).write_bytes((certificates / name).read_bytes())
    command = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-x509", "-subj", "/CN=other"]
    check([*command, "-keyout", str(other / "ca-key.pem"), "-out", str(other / "ca.pem")])
    opened = engine(address, DOCKER_CERT_PATH=str(other), DOCKER_TLS_VERIFY="1")
    try:
        with pytest.raises(EngineUnavailableError, match="certificate verify failed"):
            opened.discover()
    finally:
        opened.close()


def test_two_hosts_have_certificates_of_two_authorities(address: str, certificates: Path, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    others = make_certificates(tmp_path / "second")
    with served(others, tmp_path / "second.sock") as second:
        with (
            closing(engine(f"{address}?cert_path={certificates}")) as one,
            # Those of the environment are for addresses without their own.
            closing(engine(f"{second}?cert_path={others}", DOCKER_CERT_PATH=str(certificates))) as two,
        ):
            assert [len(each.discover()) for each in (one, two)] == [1, 1]
        wrong = engine(f"{second}?cert_path={certificates}")
        with closing(wrong), pytest.raises(EngineUnavailableError, match="certificate verify failed"):
            wrong.discover()


def test_a_certificate_for_another_host_is_not_accepted(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path, "subjectAltName=DNS:elsewhere.example")
    with served(certificates, tmp_path / "docker.sock") as address:
        with closing(connect(f"{address}?cert_path={certificates}", None)) as client:
            assert client.verify == str(certificates / "ca.pem")
        opened = engine(f"{address}?cert_path={certificates}")
        with closing(opened), pytest.raises(EngineUnavailableError, match=r"not valid for '127\.0\.0\.1'"):
            opened.discover()


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    missing = r"needs cert\.pem, key\.pem, ca\.pem in .*: name the folder that has them"
    with pytest.raises(SettingsError, match=missing):
        engine("tcp://127.0.0.1:2376", DOCKER_CERT_PATH=str(tmp_path), DOCKER_TLS_VERIFY="1")
    with pytest.raises(SettingsError, match=missing):
        engine(f"tcp://127.0.0.1:2376?cert_path={tmp_path}")


def test_a_key_that_is_not_the_certificates_is_told_at_the_start(certificates: Path, tmp_path: Path) -> None:
    for name, source in (("ca", "ca"), ("cert", "cert"), ("key", "ca-key")):
        (tmp_path / f"{name}.pem").write_bytes((certificates / f"{source}.pem").read_bytes())
    with pytest.raises(SettingsError, match="KEY_VALUES_MISMATCH"):
        engine(f"tcp://127.0.0.1:2376?cert_path={tmp_path}")


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for(certificates: Path, tmp_path: Path) -> None:
    for name in ("ca", "cert"):
        (tmp_path / f"{name}.pem").write_bytes((certificates / f"{name}.pem").read_bytes())
    locked = ["openssl", "rsa", "-in", str(certificates / "key.pem"), "-aes256", "-passout", "pass:secret"]
    check([*locked, "-out", str(tmp_path / "key.pem")])
    with pytest.raises(SettingsError, match=r"cannot use tcp://127\.0\.0\.1:2376"):
        engine(f"tcp://127.0.0.1:2376?cert_path={tmp_path}")
