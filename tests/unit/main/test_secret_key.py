"""Where the key for secrets comes from."""

import errno
import os
import stat
from pathlib import Path
from threading import Thread

import pytest

from tutumd.application.admission.encryption import make_key
from tutumd.errors import SettingsError
from tutumd.main.secret_key import load_cipher
from tutumd.main.storage import locked
from tutumd.settings import Settings, read_settings


def settings_of(folder: Path, key: str | None = None) -> Settings:
    return read_settings({"data_dir": folder, "secret_key": key})


def test_a_key_is_created_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    sealed = load_cipher(settings).encrypt("s3cret")
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600
    assert load_cipher(settings).decrypt(sealed) == "s3cret"
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_only_its_owner_can_read_a_new_data_folder(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with locked(tmp_path / "data" / "tutumd.lock", "in use", exclusive=True):
            assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_a_file_system_without_locks_is_told_apart_from_another_server(tmp_path: Path) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with (
        pytest.raises(SettingsError, match=r"tutumd\.lock cannot be locked: No locks available; give a --data-dir on"),
        locked(tmp_path / "tutumd.lock", "in use", exclusive=True, wait_s=60, flock=refuse),
    ):
        pass


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    sealed: list[str] = []
    threads = [Thread(target=lambda: sealed.append(load_cipher(settings_of(tmp_path)).encrypt("x"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [load_cipher(settings_of(tmp_path)).decrypt(text) for text in sealed] == ["x"] * 8


def test_the_setting_wins_over_the_file_and_former_keys_still_open(tmp_path: Path) -> None:
    old, new = make_key(), make_key()
    sealed = load_cipher(settings_of(tmp_path, old)).encrypt("s3cret")
    assert load_cipher(settings_of(tmp_path, f"{new}, {old}")).decrypt(sealed) == "s3cret"
    assert not list(tmp_path.iterdir())


def test_the_error_of_a_wrong_key_does_not_hold_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "hunter2hunter2")
    with pytest.raises(SettingsError, match="openssl rand -base64 32") as caught:
        load_cipher(settings)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(settings)


def test_an_unreadable_key_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"secret\.key"):
        load_cipher(settings_of(tmp_path))


def test_a_missing_folder_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be used: .*; set TUTUMD_SECRET_KEY instead"):
        load_cipher(settings_of(tmp_path / "nowhere"))
