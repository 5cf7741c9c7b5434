"""A handler that gets a new URL while somebody else changes it: nothing false is said about it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.dashboard_bed import serve_dashboard
from tests.support.stores import open_store
from tutumd.model import Handler, NewHandler, User
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.store import SqlStore


class _Rotating(SqlStore):
    """A store in which somebody gives a handler a new URL just before another visitor's change of it."""

    def delete_handler(self, viewer: User, service_uuid: str, uuid: str) -> None:
        self.rotate_handler(viewer, service_uuid, uuid, self._clock())
        super().delete_handler(viewer, service_uuid, uuid)

    def change_handler(
        self,
        viewer: User,
        service_uuid: str,
        uuid: str,
        change: Callable[[Handler], NewHandler],
        *,
        keeps_names_apart: bool = False,
    ) -> Handler:
        self.rotate_handler(viewer, service_uuid, uuid, self._clock())
        return super().change_handler(viewer, service_uuid, uuid, change, keeps_names_apart=keeps_names_apart)

    def record_redelivery(self, viewer: User, service_uuid: str, handler_uuid: str, number: int) -> None:
        self.rotate_handler(viewer, service_uuid, handler_uuid, self._clock())
        super().record_redelivery(viewer, service_uuid, handler_uuid, number)


@pytest.mark.slow
@pytest.mark.parametrize("button", ["Revoke it", "Disable", "Redeliver"])
def test_a_handler_that_goes_on_at_a_new_url_is_not_called_revoked(tmp_path: Path, button: str) -> None:
    with open_store(f"sqlite:///{tmp_path / 'test.db'}") as bed:
        store = _Rotating(bed.database, bed.clock, Wakeup())
        with serve_dashboard(replace(bed, store=store)) as dashboard:
            bed.show("web")
            handler = bed.handler("web")
            bed.call(handler)
            path = f"/service/{handler.service_uuid}/handler/{handler.number}/"
            path += "delivery/1/" if button == "Redeliver" else ""
            page = dashboard.visit().get(path).submit(button)
        assert (page.status, "a new URL at the same moment" in page.alert) == (409, True)
        assert store.handler(bed.admin, handler.service_uuid, handler.number).options == handler.options


@pytest.mark.slow
def test_a_group_that_goes_on_at_a_new_url_is_not_called_revoked(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'test.db'}") as bed:
        store = _Rotating(bed.database, bed.clock, Wakeup())
        with serve_dashboard(replace(bed, store=store)) as dashboard:
            bed.show("web")
            made = dashboard.visit().get("/groups/new/").submit("Create the group", name="all", services="web")
            page = made.submit("Revoke it")
        assert (page.status, "gave this group a new URL at the same moment" in page.alert) == (409, True)
        assert store.handler(bed.admin, "", 1).name == "all"
