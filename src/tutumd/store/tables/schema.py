"""The schema: its revision, the collection of all tables, and the table of single values."""

import sqlalchemy as sa

metadata = sa.MetaData()

HEAD = "1"
"""Revision of the newest migration."""

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
