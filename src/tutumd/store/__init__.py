"""The store: users, services, handlers, actions and the queue in SQLite, by SQLAlchemy Core."""
