"""Errors that Docker's SDK raises for responses of an engine."""

import docker.errors
import requests


def response(status: int) -> requests.Response:
    """Return a response without a body."""
    made = requests.Response()
    made.status_code = status
    return made


def api_error(status: int, text: str) -> docker.errors.APIError:
    """Return the error for a response with this status and message."""
    kind = docker.errors.NotFound if status == 404 else docker.errors.APIError
    return kind("failed", response=response(status), explanation=text)
