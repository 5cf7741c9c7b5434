"""The list of guards, and their proof: of a few with --all, of all at night and by `script/guards`."""

import re
from pathlib import Path

import pytest
from jinja2 import Environment, TemplateError

from tests.guards.guard import Guard, read_guards
from tests.guards.proof import ROOT, judge, prove

GUARDS = read_guards()
QUICK = ("one-in-progress", "claim-token")


def test_each_guard_stands_in_its_file_and_its_test_exists() -> None:
    faults = [f"{guard.name}: {fault}" for guard in GUARDS if (fault := fault_of(guard))]
    assert not faults, "\n".join(faults)


def fault_of(guard: Guard) -> str:
    """Return why a guard cannot be proven; empty if it can."""
    try:
        without = guard.taken_out_of((ROOT / guard.file).read_text())
        if guard.file.endswith(".py"):
            compile(without, guard.file, "exec")
        else:
            Environment().parse(without)
    except (OSError, SyntaxError, TemplateError, ValueError) as error:
        return str(error)
    path, _, name = guard.test.partition("::")
    if not (ROOT / path).exists():
        return f"there is no {path}"
    found = re.search(rf"^(async )?def {name.partition('[')[0]}\(", (ROOT / path).read_text(), re.MULTILINE)
    return "" if found else f"there is no test {name}"


def test_there_are_guards_of_many_kinds() -> None:
    assert len(GUARDS) >= 30
    assert len({guard.kind for guard in GUARDS}) >= 12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "missed", "words"),
    [
        ("assert 1 == 2", True, "assert 1 == 2"),
        ("with pytest.raises(OSError): pass", True, "DID NOT RAISE"),
        ("pytest.fail('it was given twice')", True, "it was given twice"),
        ("pass", False, "the test passes"),
        ("pytest.skip('no database')", False, "no database"),
        ("undefined()", False, "NameError"),
        ("import nothing", False, "ModuleNotFoundError"),
        ("this is no Python", False, "error"),
        ("time.sleep(20)", False, "Timeout"),
    ],
)
def test_only_an_assertion_proves_a_guard(tmp_path: Path, body: str, missed: bool, words: str) -> None:
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--nightly', action='store_true')\n"
    )
    limit_s = 1 if "sleep" in body else 200
    (tmp_path / "test_it.py").write_text(
        f"import time\nimport pytest\n@pytest.mark.timeout({limit_s})\ndef test_it():\n    {body}\n"
    )
    result, reason = judge(tmp_path, ["test_it.py"])
    assert result is missed
    assert words in reason


@pytest.mark.parametrize(
    "guard",
    [
        pytest.param(guard, id=guard.name, marks=pytest.mark.slow if guard.name in QUICK else pytest.mark.nightly)
        for guard in GUARDS
    ],
)
def test_a_guard_that_is_taken_out_is_missed(guard: Guard) -> None:
    proof = prove(guard)
    assert proof.missed, proof.reason
