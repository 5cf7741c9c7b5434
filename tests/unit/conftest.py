"""The guard that keeps unit tests without input and output, and the event loop of tests that are coroutines."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from functools import partial

import pytest

from tests.support.guards import UnitGuard

_GUARD = UnitGuard()


@pytest.fixture(autouse=True)
def no_input_or_output(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail each test that connects, starts a process, opens a database, or writes outside of the temporary folder."""
    with _GUARD.watch(tmp_path_factory.getbasetemp()):
        yield


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = partial(_run, pyfuncitem.obj)


def _run(test: Callable[..., Coroutine[None, None, None]], **fixtures: object) -> None:
    asyncio.run(test(**fixtures))
