"""A container: one running copy of a service."""

from __future__ import annotations

from tutum.resource import Resource


class Container(Resource):
    """One copy of a service, which the server shows and does not let change.

    Attributes:
        service: Path of its service.
        exit_code: None while it runs.
    """

    endpoint = "container"

    name: str = ""
    service: str | None = None
    state: str = ""
    image_name: str = ""
    run_command: str = ""
    exit_code: int | None = None
    deployed_datetime: str | None = None
