"""Where the keys for secrets and of workers come from."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from tutumd.application.admission.encryption import make_key
from tutumd.errors import SettingsError
from tutumd.main.key_files import load_cipher, read_worker_key
from tutumd.main.storage import locked
from tutumd.settings import Settings, read_settings

Use = Callable[[Path], object]


def settings_of(folder: Path, **options: object) -> Settings:
    return read_settings({"data_dir": folder, **options})


def secret_key(folder: Path) -> str:
    sealed = load_cipher(settings_of(folder)).encrypt("s3cret")
    assert load_cipher(settings_of(folder)).decrypt(sealed) == "s3cret"
    return (folder / "secret.key").read_text()


def worker_key(folder: Path) -> bytes:
    return read_worker_key(settings_of(folder), is_shared=False)


@pytest.mark.parametrize(("name", "use"), [("secret.key", secret_key), ("worker.key", worker_key)])
def test_a_key_is_created_once_and_only_its_owner_can_read_it(tmp_path: Path, name: str, use: Use) -> None:
    keys: list[object] = []
    threads = [Thread(target=lambda: keys.append(use(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keys == [use(tmp_path)] * 8
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_only_its_owner_can_read_a_new_data_folder(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with locked(tmp_path / "data" / "tutumd.lock", "in use", exclusive=True):
            assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_the_setting_wins_over_the_file_and_former_keys_still_open(tmp_path: Path) -> None:
    old, new = make_key(), make_key()
    sealed = load_cipher(settings_of(tmp_path, secret_key=old)).encrypt("s3cret")
    assert load_cipher(settings_of(tmp_path, secret_key=f"{new}, {old}")).decrypt(sealed) == "s3cret"
    assert not list(tmp_path.iterdir())


def test_the_error_of_a_wrong_key_does_not_hold_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, secret_key="hunter2hunter2")
    with pytest.raises(SettingsError, match="openssl rand -base64 32") as caught:
        load_cipher(settings)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(settings)


def test_an_unreadable_key_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"secret\.key"):
        load_cipher(settings_of(tmp_path))


def test_a_file_of_its_own_holds_the_key_of_workers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data := tmp_path / "data").mkdir()
    settings = settings_of(data, worker_key_file=tmp_path / "key")
    key = read_worker_key(settings, is_shared=True)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert not list(data.iterdir())
    assert not caplog.messages
    assert read_worker_key(settings, is_shared=True) == key
    (tmp_path / "key").write_text("another key of 32 or more characters\n")
    assert read_worker_key(settings, is_shared=True) == b"another key of 32 or more characters"


def test_a_key_that_other_workers_lack_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_worker_key(settings_of(tmp_path), is_shared=True)
    assert "--worker-key-file is not set: other workers of this database cannot go on" in caplog.text


@pytest.mark.parametrize("content", ["", "\n", "hunter2hunter2"])
def test_a_key_that_can_be_guessed_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    (tmp_path / "worker.key").write_text(content)
    with pytest.raises(SettingsError, match=r"key must hold 32 or more characters: openssl rand -hex 32 > ") as caught:
        worker_key(tmp_path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("use", "remedy"), [(secret_key, "set TUTUMD_SECRET_KEY instead"), (worker_key, "--worker-key-file FILE")]
)
def test_a_file_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path, use: Use, remedy: str) -> None:
    with pytest.raises(SettingsError, match=rf"^the key file {tmp_path}/no/\w+.key cannot be used: .*; .*{remedy}$"):
        use(tmp_path / "no")
