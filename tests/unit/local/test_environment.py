from tutumd.engines.local.environment import build_environment


def build(server: dict[str, str], envvars: dict[str, str]) -> dict[str, str]:
    return build_environment(
        server, envvars, container_id="id", container_name="web-1", service_uuid="uuid", service_name="web"
    )


MARKS = {
    "TUTUM_CONTAINER_ID": "id",
    "TUTUM_CONTAINER_NAME": "web-1",
    "TUTUM_SERVICE_UUID": "uuid",
    "TUTUM_SERVICE_NAME": "web",
}


def test_only_path_home_and_lang_come_from_the_server() -> None:
    server = {"PATH": "/bin", "HOME": "/root", "LANG": "de", "TERM": "x", "TUTUMD_DATABASE": "secret", "OTHER": "1"}
    assert build(server, {}) == {"PATH": "/bin", "HOME": "/root", "LANG": "de"} | MARKS


def test_a_server_without_them_gives_sensible_ones() -> None:
    usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert build({}, {}) == {"PATH": usual, "HOME": "/", "LANG": "C.UTF-8"} | MARKS


def test_the_definition_overrides_everything_but_the_marks() -> None:
    built = build({"PATH": "/bin", "HOME": "/root", "LANG": "C"}, {"PATH": "/opt", "A": "1", "TUTUM_CONTAINER_ID": "x"})
    assert built == {"PATH": "/opt", "HOME": "/root", "LANG": "C", "A": "1"} | MARKS
