"""Where the server and the credentials come from."""

from errno import ENOSPC
from pathlib import Path
from unittest.mock import Mock

import pytest

import tutum
from tests.unit.sdk.fake_api import FakeApi
from tutum.auth import get_auth, remove_credentials, save_credentials
from tutum.client import current_client
from tutum.settings import Settings, Source, normal_base_url, settings_of, source_of_environment, source_of_file

FILE = "[auth]\nuser = filed\napikey = filekey%\n\n[server]\nbase_url = http://file.test/api/v1/\n"


def test_without_settings_the_server_is_on_this_machine(home: Path) -> None:
    assert current_client().settings == Settings(base_url="http://127.0.0.1:8000/api/v1/", authorization=None)


def test_each_place_wins_over_the_next(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".tutum").write_text(FILE)
    file = current_client().settings
    assert file == Settings(base_url="http://file.test/api/v1/", authorization="ApiKey filed:filekey%")
    monkeypatch.setenv("TUTUM_USER", "env")
    monkeypatch.setenv("TUTUM_APIKEY", "envkey")
    monkeypatch.setenv("TUTUM_REST_HOST", "http://rest.test")
    assert current_client().settings == Settings(base_url="http://rest.test/api/v1/", authorization="ApiKey env:envkey")
    monkeypatch.setenv("TUTUM_BASE_URL", "http://env.test/api/v1")
    monkeypatch.setenv("TUTUM_AUTH", "Basic eHg=")
    assert current_client().settings == Settings(base_url="http://env.test/api/v1/", authorization="Basic eHg=")
    tutum.user = "mod"
    tutum.apikey = "modkey"
    tutum.base_url = "http://mod.test/api/v1/"
    assert current_client().settings == Settings(base_url="http://mod.test/api/v1/", authorization="ApiKey mod:modkey")
    given = tutum.Client(user="arg", apikey="argkey", base_url="http://arg.test/")
    assert given.settings == Settings(base_url="http://arg.test/api/v1/", authorization="ApiKey arg:argkey")


def test_the_client_is_kept_while_the_settings_are_the_same(home: Path) -> None:
    first = current_client()
    assert current_client() is first
    tutum.user = "bob"
    tutum.apikey = "key"
    assert current_client() is not first


def test_a_named_user_is_not_replaced_by_another_ones_header() -> None:
    sources = [Source(user="bob"), Source(authorization="Basic YWxpY2U6eA=="), Source(apikey="key")]
    assert settings_of(sources).authorization == "ApiKey bob:key"


@pytest.mark.parametrize(
    ("content", "source"),
    [
        ("[auth]\nbasic_auth = Ym9iOmtleQ==\n", Source(authorization="Basic Ym9iOmtleQ==")),  # of later clients
        *((text, Source()) for text in ("", "not ini", "[auth]\nuser", "[other]\nx = 1\n")),
    ],
)
def test_a_file_sets_what_can_be_read(tmp_path: Path, content: str, source: Source) -> None:
    (tmp_path / "file").write_text(content)
    assert source_of_file(tmp_path / "file") == source
    assert source_of_file(tmp_path / "absent") == Source()


def test_an_empty_variable_sets_nothing() -> None:
    empty = source_of_environment({"TUTUM_USER": "", "TUTUM_BASE_URL": "", "TUTUM_REST_HOST": ""})
    assert settings_of([empty]) == Settings(base_url="http://127.0.0.1:8000/api/v1/", authorization=None)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://h/api/v1", "http://h/api/v1/"),
        ("http://h/api/v1/", "http://h/api/v1/"),
        ("http://h:8000", "http://h:8000/api/v1/"),
        ("HTTPS://h", "HTTPS://h/api/v1/"),
        ("https://h/behind/proxy", "https://h/behind/proxy/api/v1/"),
        (" https://h/behind/proxy/api/v1 ", "https://h/behind/proxy/api/v1/"),
    ],
)
def test_the_end_of_a_base_url_is_optional(url: str, normal: str) -> None:
    assert normal_base_url(url) == normal


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://h/", "http://", "http://h:65536/", "http://h:0/", "http://h:x/", "http://[::1"]
)
def test_a_text_that_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(tutum.TutumApiError, match="must look like"):
        normal_base_url(url)


def test_a_key_with_a_line_end_inside_is_refused_without_showing_it(home: Path) -> None:
    with pytest.raises(tutum.TutumApiError) as raised:
        tutum.Client(user="bob", apikey="s3cret\nkey")
    assert "s3cret" not in str(raised.value)


def test_saved_credentials_are_private_and_leave_the_rest_of_the_file(home: Path) -> None:
    real = home / "real"
    real.write_text("[auth]\nbasic_auth = old\n\n[other]\nx = 1\n")
    (home / ".tutum").symlink_to(real)
    save_credentials(user="bob", apikey="k%ey", base_url="http://h:1/api/v1/")
    assert current_client().settings == Settings(base_url="http://h:1/api/v1/", authorization="ApiKey bob:k%ey")
    assert (home / ".tutum").is_symlink()
    assert (sorted(home.iterdir()), real.stat().st_mode & 0o777) == ([home / ".tutum", real], 0o600)
    assert "basic_auth" not in real.read_text()
    assert "[other]\nx = 1" in real.read_text()


def test_a_file_with_a_wrong_line_keeps_its_entries_and_loses_its_credentials(home: Path) -> None:
    file = home / ".tutum"
    file.write_text(
        "[other]\nx = 1\n[server]\nbase_url = http://h:1/api/v1/\n[auth]\nuser = a\nuser = b\napikey = key\n!\n"
    )
    save_credentials(user="bob", apikey="new", base_url=None)
    assert current_client().settings == Settings(base_url="http://h:1/api/v1/", authorization="ApiKey bob:new")
    assert "[other]\nx = 1" in file.read_text()
    file.write_text("[auth]\nuser = a\nuser = b\napikey = key\n!\n")
    assert remove_credentials() == (file, ["user", "apikey"])
    assert "key" not in file.read_text()


def test_credentials_that_cannot_be_saved_leave_no_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", Mock(side_effect=OSError(ENOSPC, "No space left on device")))
    with pytest.raises(tutum.TutumApiError, match="No space left"):
        save_credentials(user="bob", apikey="key", base_url=None)
    assert list(home.iterdir()) == []


def test_credentials_are_checked_in_the_form_that_takes_passwords(api: FakeApi) -> None:
    assert get_auth("bob", "password") == ("bob", "s3cret-key")
    assert api.requests[-1].headers["Authorization"] == "Basic Ym9iOnBhc3N3b3Jk"


def test_authenticate_sets_the_modules_credentials(api: FakeApi) -> None:
    tutum.auth.authenticate("bob", "password")
    assert (tutum.user, tutum.apikey) == ("bob", "s3cret-key")
    tutum.auth.logout()
    assert tutum.user is None


def test_every_public_name_exists() -> None:
    assert {name for name in tutum.__all__ if not hasattr(tutum, name)} == set()
    assert set(tutum.__all__) - set(dir(tutum)) == set()
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        getattr(tutum, "Nonsense")  # noqa: B009 - mypy would rightly refuse the attribute
