"""The store's reads for the dashboard."""

from tutumd.ports.dashboard import Dashboard
from tutumd.store.action_lists import SqlActionLists
from tutumd.store.delivery_lists import SqlDeliveryLists
from tutumd.store.overview import SqlOverview
from tutumd.store.service_list import SqlServiceList


class SqlDashboard(SqlServiceList, SqlActionLists, SqlDeliveryLists, SqlOverview, Dashboard):
    """Dashboard of tutumd.ports."""
