"""The list of guards, and the proof of a handful; `script/guards` proves all."""

import re
from pathlib import Path

import pytest
from jinja2 import Environment

from tests.guards.guard import Guard, choose, read_guards
from tests.guards.proof import ROOT, judge, prove

GUARDS = read_guards()
QUICK = ("one-in-progress", "synchronous-full", "claim-token", "cache-validity", "high-water-mark")


@pytest.mark.parametrize("guard", GUARDS, ids=[guard.name for guard in GUARDS])
def test_a_guard_stands_in_its_file_and_its_test_exists(guard: Guard) -> None:
    source = (ROOT / guard.file).read_text()
    without = guard.taken_out_of(source)
    if guard.file.endswith(".py"):
        compile(without, guard.file, "exec")
    else:
        Environment().parse(without)
    path, _, name = guard.test.partition("::")
    assert re.search(rf"^def {name.partition('[')[0]}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_there_are_guards_of_many_kinds() -> None:
    assert len(GUARDS) >= 30
    assert len({guard.kind for guard in GUARDS}) >= 12


def test_an_unknown_guard_is_named() -> None:
    with pytest.raises(ValueError, match="there is no guard nonsense"):
        choose(GUARDS, ["nonsense"])


def test_a_text_that_is_there_twice_is_no_guard() -> None:
    guard = Guard(name="twice", kind="none", file="a.py", text="x", instead="", test="")
    with pytest.raises(ValueError, match=r"a\.py: the text of the guard twice occurs 2 times"):
        guard.taken_out_of("x = x")


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
        "def pytest_addoption(parser):\n    parser.addoption('--all', action='store_true')\n"
    )
    limit_s = 1 if "sleep" in body else 200
    (tmp_path / "test_it.py").write_text(
        f"import time\nimport pytest\n@pytest.mark.timeout({limit_s})\ndef test_it():\n    {body}\n"
    )
    result, reason = judge(tmp_path, ["test_it.py"])
    assert result is missed
    assert words in reason


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_guard_that_is_taken_out_is_missed(name: str) -> None:
    (guard,) = choose(GUARDS, [name])
    proof = prove(guard)
    assert proof.missed, proof.reason
