"""The HTTP edge: parses, calls one function of the application, renders. It never sees an engine."""
