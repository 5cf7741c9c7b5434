"""Where the key comes from with which workers seal journals."""

import stat
from pathlib import Path

import pytest

from tests.unit.worker.fakes import FakeClock, FakeQueue, make_run
from tutumd.errors import SettingsError
from tutumd.main.work import load_seal
from tutumd.settings import Settings, read_settings

CLAIM = make_run(FakeQueue(), FakeClock(), journal={}).claim


def seal_of(settings: Settings) -> object:
    return load_seal(settings, is_shared=False).close(CLAIM, {"phase": "swap"})


def settings_of(folder: Path, file: Path | None = None) -> Settings:
    return read_settings({"data_dir": folder, "worker_key_file": file})


def test_the_key_is_created_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    sealed = seal_of(settings_of(tmp_path))
    assert seal_of(settings_of(tmp_path)) == sealed
    assert stat.S_IMODE((tmp_path / "worker.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["worker.key"]


def test_a_file_of_its_own_is_created_or_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data := tmp_path / "data").mkdir()
    file = tmp_path / "key"
    sealed = seal_of(settings_of(data, file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(data.iterdir())
    assert load_seal(settings_of(tmp_path, file), is_shared=True).close(CLAIM, {"phase": "swap"}) == sealed
    assert "--worker-key-file" not in capsys.readouterr().out
    file.write_text("another key of 32 or more characters\n")
    assert seal_of(settings_of(data, file)) != sealed


def test_a_key_that_others_do_not_have_is_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_seal(settings_of(tmp_path), is_shared=True)
    assert "--worker-key-file is not set: other workers of this database cannot go on" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "\n", "hunter2hunter2"])
def test_a_key_that_can_be_guessed_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    (file := tmp_path / "key").write_text(content)
    with pytest.raises(SettingsError, match=r"key must hold 32 or more characters: openssl rand -hex 32 > ") as caught:
        seal_of(settings_of(tmp_path, file))
    assert "hunter2" not in str(caught.value)


def test_a_file_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "nowhere" / "key"):
        with pytest.raises(
            SettingsError, match=rf"^the key of workers {file} cannot be used: .*--worker-key-file FILE$"
        ):
            seal_of(settings_of(tmp_path, file))
