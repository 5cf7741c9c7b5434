"""The user of these tests."""

from dataclasses import replace

import pytest

from tests.support.stores import StoreBed, snapshot
from tutumd.model import Access, User, Via


@pytest.fixture
def ann(bed: StoreBed) -> User:
    """An admin with a page of the dashboard."""
    bed.sync(replace(snapshot("web"), stack="shop"), snapshot("db"))
    user = bed.store.add_user("ann", is_admin=True)
    access = Access(via=Via.PAGE, credential="login link", address="192.0.2.7", user_agent="Firefox\0 \ud800")
    return replace(user, access=access)
