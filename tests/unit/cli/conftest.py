"""Fixtures of the CLI's tests."""

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.unit.sdk.conftest import api as api
from tests.unit.sdk.conftest import home as home
from tutum.cli.app import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a command printed, and how it exited."""

    code: int
    out: str
    err: str


Tutum = Callable[..., Ran]


class Terminal(io.TextIOWrapper):
    """A person at a terminal, who types this."""

    def isatty(self) -> bool:
        return True


def piped(text: str) -> io.TextIOWrapper:
    """Return a standard input that is a pipe with a text."""
    return io.TextIOWrapper(io.BytesIO(text.encode()))


def typed(text: str) -> Terminal:
    """Return a standard input at which somebody types a text."""
    return Terminal(io.BytesIO(text.encode()))


@pytest.fixture
def tutum_command(api: object, capsys: pytest.CaptureFixture[str]) -> Iterator[Tutum]:
    """Runs a command line in this process, against the API in memory, with an empty standard input or another one."""
    before = sys.stdin

    def call(*arguments: str, stdin: io.TextIOWrapper | None = None) -> Ran:
        sys.stdin = stdin or piped("")
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        printed = capsys.readouterr()
        return Ran(code=int(ended.value.code or 0), out=printed.out, err=printed.err)

    yield call
    sys.stdin = before
