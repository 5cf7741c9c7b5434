"""Pytest plugin that fails the test or the fixture that leaves a process or a thread behind.

It is a plugin because pytest does not call the hooks of `tests/conftest.py` for fixtures of the whole session.
"""

from collections.abc import Generator

import pytest

from tests.support.leaks import END_S, LeakCheck, end_processes, forget_failure

_FAILED = pytest.StashKey[bool]()


class LeakPlugin:
    """The hooks around tests and fixtures."""

    def __init__(self) -> None:
        self._leaks = LeakCheck()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Make the test the owner of what starts now; release what a failure keeps alive."""
        with self._leaks.test(item.nodeid):
            result = yield
        if _FAILED in item.stash:
            forget_failure()
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note whether the test failed."""
        report = yield
        if report.failed:
            item.stash[_FAILED] = True
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """End what the test left behind, and fail the test for it."""
        try:
            return (yield)
        finally:
            folder = getattr(item, "funcargs", {}).get("tmp_path")
            if left := self._leaks.end_leftovers_of_test(item.nodeid, folder):
                pytest.fail(f"this test left behind: {left}", pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        """Make a fixture of a wider scope the owner of what starts now; check what is left after its end."""
        if fixturedef.scope == "function":
            return (yield)
        name = f"the {fixturedef.scope} fixture {fixturedef.argname}"

        def check() -> None:
            if left := end_processes(name, end_s=END_S):
                pytest.fail(f"{name} left behind: {left}", pytrace=False)

        fixturedef.addfinalizer(check)  # finalizers run in reverse order, so this one runs last
        with self._leaks.fixture(name):
            return (yield)
