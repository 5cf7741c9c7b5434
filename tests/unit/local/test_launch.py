from collections.abc import Mapping

from tests.unit.local.values import SERVICE_UUID, container, record
from tutumd.engines.local.launch import build_environment

OURS = {
    "TUTUM_CONTAINER_ID": "old-1",
    "TUTUM_CONTAINER_NAME": "web-1",
    "TUTUM_SERVICE_UUID": SERVICE_UUID,
    "TUTUM_SERVICE_NAME": "web",
}


def build(server: Mapping[str, str], envvars: Mapping[str, str | None]) -> dict[str, str]:
    return build_environment(server, envvars, record(1), container(1))


def test_only_path_home_and_lang_come_from_the_server() -> None:
    server = {"PATH": "/bin", "HOME": "/root", "LANG": "de", "TERM": "x", "TUTUMD_DATABASE": "secret", "OTHER": "1"}
    assert build(server, {}) == {"PATH": "/bin", "HOME": "/root", "LANG": "de"} | OURS


def test_variables_that_the_server_lacks_have_defaults() -> None:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert build({}, {}) == {"PATH": path, "HOME": "/", "LANG": "C.UTF-8"} | OURS


def test_the_service_overrides_everything_but_our_variables() -> None:
    server = {"PATH": "/bin", "HOME": "/root", "LANG": "C"}
    built = build(server, {"PATH": "/opt", "HOME": None, "A": "1", "B": None, "TUTUM_CONTAINER_ID": "x"})
    assert built == {"PATH": "/opt", "HOME": "/root", "LANG": "C", "A": "1"} | OURS
