"""A package that is not installed is named with the command that installs it here."""

from pathlib import Path

import pytest

from tutumd.main.missing import install_command, tell_missing

ROOT = Path(__file__).parents[3]
PRESENT = "'tutumd[kubernetes,notify,postgres,server]'"
"""The tests have all extras, and a new installation must keep them."""


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("pipx_metadata.json", f"pipx install --force {PRESENT}"),
        ("uv-receipt.toml", f"uv tool install {PRESENT}"),
        ("pyvenv.cfg", f"uv pip install --python {{folder}}/bin/python {PRESENT}"),
        ("lib/python3.11/site-packages/pip/py.typed", f"{{folder}}/bin/python -m pip install {PRESENT}"),
    ],
)
def test_the_command_is_that_of_what_made_the_environment(tmp_path: Path, file: str, command: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    assert install_command("server", tmp_path, tmp_path / "no-checkout") == command.format(folder=tmp_path)


def test_a_checkout_is_told_its_own_script() -> None:
    assert install_command("postgres", ROOT / ".venv", ROOT) == f"{ROOT}/script/setup postgres"


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("kubernetes.client", "the engine kubernetes needs the package kubernetes, which is not installed: run "),
        ("yaml", "the engine kubernetes needs the package yaml, which is not installed: run "),
        ("psycopg", "a PostgreSQL database needs the package psycopg, which is not installed: run "),
        ("pydantic", "the server needs the package pydantic, which is not installed: run "),
    ],
)
def test_the_sentence_says_what_needs_it(module: str, sentence: str) -> None:
    assert tell_missing(module).startswith(sentence)
