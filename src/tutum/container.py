"""A container: one running copy of a service."""

from tutum.resource import Resource


class Container(Resource):
    """One copy of a service. Read-only.

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
