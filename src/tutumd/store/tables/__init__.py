"""The tables, by subject. A test compares them with the tables that the migrations create.

All tables are in `schema.metadata` once any of these modules is imported.
"""

from tutumd.store.tables import accounts, actions, services  # noqa: F401
