"""The proof of a guard: its test fails by an assertion in a copy of the repository without the guard."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from tests.guards.guard import Guard

ROOT = Path(__file__).parents[2]
_PARTS = ("src", "tests", "docs", "deploy", "script", "pyproject.toml", "README.md", "Dockerfile", "compose.yaml")
_SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", "*_cache")
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What became of a guard.

    Attributes:
        missed: Its test failed by an assertion, as it must.
        reason: The assertion, or why there is no proof.
    """

    guard: Guard
    missed: bool
    reason: str


def prove(guard: Guard) -> Proof:
    """Take a guard out of a copy of the repository, and return whether its test fails."""
    with _copy() as copy:
        source = copy / guard.file
        source.write_text(guard.taken_out_of(source.read_text()))
        missed, reason = judge(copy, [guard.test])
        return Proof(guard=guard, missed=missed, reason=reason)


def passes(tests: Sequence[str]) -> str:
    """Run tests in an untouched copy; return an empty text if all pass, or what they print."""
    with _copy() as copy:
        run = _run(copy, *_PYTEST, "-n", "2", *dict.fromkeys(tests), limit_s=5 * _LIMIT_S)
        return run.stdout if run.returncode else ""


_PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--nightly")


def judge(copy: Path, tests: Sequence[str]) -> tuple[bool, str]:
    """Return whether one of the tests fails by an assertion, and its text or what happened instead."""
    report = copy / "guards.xml"
    run = _run(copy, *_PYTEST, f"--junitxml={report}", *tests)
    if not report.exists():
        return False, f"pytest did not run it: {_last_line(run.stdout)}"
    cases = list(ElementTree.parse(report).iter("testcase"))
    failures = [str(failure.get("message")) for case in cases for failure in case.iter("failure")]
    asserted = [text for text in failures if _is_assertion(text)]
    if asserted:
        return True, asserted[0].partition("\n")[0]
    others = [f"{kind.tag}: {kind.get('message')}".partition("\n")[0] for case in cases for kind in case]
    return False, f"no assertion failed: {others[0] if others else 'the test passes'}"


def _is_assertion(message: str) -> bool:
    """Return whether a failure is that of an assertion, and no error of the test or of the source.

    `Failed:` is that of `pytest.raises` and `pytest.fail`, but also of a test that hangs.
    """
    return message.startswith(("AssertionError", "assert ", "Failed: ")) and not message.startswith("Failed: Timeout")


@contextmanager
def _copy() -> Iterator[Path]:
    """Copy what the tests need of the repository."""
    with TemporaryDirectory(prefix="tutumd-guards-") as folder:
        for name in _PARTS:
            source, target = ROOT / name, Path(folder) / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=_SKIPPED)
            elif source.exists():
                shutil.copy(source, target)
        (Path(folder) / ".venv").symlink_to(ROOT / ".venv")
        yield Path(folder)


def _run(copy: Path, *arguments: str, limit_s: float = _LIMIT_S) -> "subprocess.CompletedProcess[str]":
    """Run Python in a copy, whose source comes before the installed one."""
    environment = {**os.environ, "PYTHONPATH": f"{copy / 'src'}:{copy}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    try:
        return subprocess.run(
            command, cwd=copy, env=environment, timeout=limit_s, text=True, stdout=-1, stderr=subprocess.STDOUT
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, stdout=f"it did not end within {limit_s:g} s")


def _last_line(text: str) -> str:
    return next(reversed([line for line in text.splitlines() if line.strip()]), "it printed nothing")
