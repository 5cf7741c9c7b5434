"""The call path: `POST …/call/`, from the socket to the response."""
