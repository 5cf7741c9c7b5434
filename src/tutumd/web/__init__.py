"""The HTTP edge: parses a request, calls one function of the application, renders the result."""
