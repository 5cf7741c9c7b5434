"""The tables, by what they are about. A test compares them with those that the migrations create.

All are in `schema.metadata` once any of these modules is imported.
"""

from tutumd.store.tables import accounts, actions, services  # noqa: F401
