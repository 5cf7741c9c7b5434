"""The store: everything that is persisted, in SQLite or PostgreSQL, with SQLAlchemy Core."""
