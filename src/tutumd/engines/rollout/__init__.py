"""Functions that several engines use to roll out a change. No engine is imported here."""
