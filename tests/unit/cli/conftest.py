"""Fixtures of the CLI's tests."""

from collections.abc import Callable
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


@pytest.fixture
def tutum_command(api: object, capsys: pytest.CaptureFixture[str]) -> Tutum:
    """Runs a command line in this process, against the API in memory."""

    def call(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        printed = capsys.readouterr()
        return Ran(code=int(ended.value.code or 0), out=printed.out, err=printed.err)

    return call
