"""The guard that keeps unit tests without input and output, and the event loop of tests that are coroutines."""

from collections.abc import Iterator

import pytest

from tests.support.guards import UnitGuard

_GUARD = UnitGuard()


@pytest.fixture(autouse=True)
def no_input_or_output(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail each test that connects, starts a process, opens a database, or writes outside of the temporary folder."""
    with _GUARD.watch(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop that runs the tests that are coroutines."""
    return "asyncio"
