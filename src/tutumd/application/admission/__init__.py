"""Whether a call is to be trusted, and what it asks for: all that can be decided without the database."""
