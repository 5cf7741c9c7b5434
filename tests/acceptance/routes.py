"""Routes of the API, from the OpenAPI document of the server, so that the tests include every new route."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.support.api import Api

PUBLIC = frozenset(
    {
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/api/v1/status/{token}/"),
        ("POST", "/api/v1/service/{service_uuid}/webhook/handler/{handler_uuid}/call/"),
        ("POST", "/api/v1/service/{service_uuid}/webhook/handler/{handler_uuid}/call/{amount}/"),
        ("POST", "/api/v1/webhook/group/{handler_uuid}/call/"),
    }
)
"""Routes without credentials. The path of the last four is a secret."""

_NAME = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A method and a path with placeholders such as `service` and `handler`."""

    method: str
    template: str

    @property
    def is_public(self) -> bool:
        return (self.method, self.template) in PUBLIC

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(_NAME.findall(self.form))

    @property
    def form(self) -> str:
        """The path with `{service}`, `{handler}`, `{container}`, `{action}` where the document has other names."""
        kind = self.template.removeprefix("/api/v1/").partition("/")[0]
        template = self.template.replace("group/{handler_uuid}", "group/{group}")
        return template.replace("_uuid}", "}").replace("{uuid}", f"{{{kind}}}")

    def fill(self, values: Mapping[str, str]) -> str:
        return self.form.format_map(dict(values))

    def mixtures(self, own: Mapping[str, str], foreign: Mapping[str, str]) -> Iterator[tuple[str, set[str]]]:
        """Yield the path with each mixture of own and foreign values, and the names of the foreign ones."""
        for choice in itertools.product((False, True), repeat=len(self.names)):
            taken = {name for name, is_foreign in zip(self.names, choice, strict=True) if is_foreign}
            if taken:
                yield self.fill({name: (foreign if name in taken else own)[name] for name in self.names}), taken


def all_routes(server: Api) -> list[Route]:
    """Return the routes of a running server."""
    document = server.request("GET", "/api/openapi.json", authorization=None).json
    return [
        Route(method=method.upper(), template=template)
        for template, methods in document["paths"].items()
        for method in methods
    ]
