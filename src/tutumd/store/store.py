"""The store that the application reads and writes, with its requests to workers."""

from collections.abc import Mapping

import sqlalchemy as sa

from tutumd.model import Service
from tutumd.ports import Store
from tutumd.store.objects.accounts import SqlAccounts
from tutumd.store.objects.action_rows import SqlRecentActions
from tutumd.store.objects.deliveries import SqlDeliveries
from tutumd.store.objects.freeze_windows import SqlFreezeWindows
from tutumd.store.objects.groups import SqlGroups
from tutumd.store.objects.handlers import SqlHandlers
from tutumd.store.objects.issuers import SqlIssuers
from tutumd.store.objects.notifications import SqlTargets
from tutumd.store.objects.revisions import SqlRevisions
from tutumd.store.objects.rollbacks import SqlRollbacks
from tutumd.store.sql import ENDS
from tutumd.store.tables import new_uuid, requests


class SqlStore(
    SqlRecentActions,
    SqlHandlers,
    SqlGroups,
    SqlDeliveries,
    SqlAccounts,
    SqlRollbacks,
    SqlRevisions,
    SqlTargets,
    SqlIssuers,
    SqlFreezeWindows,
    Store,
):
    """Store of tutumd.ports."""

    def wal_bytes(self) -> int:
        return self._database.dialect.wal_bytes()

    def add_request(self, service: Service, kind: str, arguments: Mapping[str, object]) -> str:
        uuid = new_uuid()
        with self._wakeup.write(self._database) as (connection, woken):
            woken.add(service.engine)
            connection.execute(
                sa.insert(requests).values(
                    uuid=uuid,
                    engine=service.engine,
                    service_uuid=service.uuid,
                    kind=kind,
                    arguments=dict(arguments),
                    created=self._clock(),
                    taken=False,
                )
            )
        return uuid

    def pop_response(self, request_uuid: str) -> Mapping[str, object] | None:
        this_request = requests.c.uuid == request_uuid
        found = self._database.fetch(sa.select(requests.c.answer).where(this_request, requests.c.answer.isnot(None)))
        if not found:
            return None
        with self._database.write() as connection:
            connection.execute(sa.delete(requests).where(this_request))
        return dict(found[0].answer)

    def wait_for_end(self, seen: int, timeout_s: float) -> int:
        self._wakeup.topics.add(ENDS)
        return self._wakeup.wait(seen, timeout_s)
