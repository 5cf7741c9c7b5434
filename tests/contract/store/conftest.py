"""The store that the contract tests of Store, Intake and Queue run on."""

from collections.abc import Iterator

import pytest

from tests.support.postgres_bed import PostgresBed
from tests.support.postgres_proxy import PostgresProxy
from tests.support.replica import Replica
from tests.support.stores import StoreBed, open_store
from tutumd.store.sql import postgres


@pytest.fixture
def bed(database_url: str) -> Iterator[StoreBed]:
    """A store on each database, with the services `web` and `db`."""
    with open_store(database_url) as opened:
        opened.show("web", "db")
        yield opened


@pytest.fixture
def proxy(postgres_bed: PostgresBed) -> Iterator[PostgresProxy]:
    """A network to PostgreSQL."""
    proxy = PostgresProxy(postgres_bed.folder)
    yield proxy
    proxy.close()


@pytest.fixture
def replica(bed: StoreBed) -> Replica:
    """A web replica on the store."""
    return Replica(bed)


@pytest.fixture
def patient_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, others may hold a lock for longer than a server waits for it."""
    monkeypatch.setattr(postgres, "LIMITS", postgres.LIMITS.replace("'2s'", "'1min'").replace("'20s'", "'1min'"))
    assert postgres.LIMITS.count("'1min'") == 2
