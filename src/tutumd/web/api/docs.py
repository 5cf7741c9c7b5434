"""Routes of the page `/api/docs`: Swagger UI from files of a package, so that it works without internet."""

from importlib import resources

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from tutumd.errors import NOT_FOUND, NotFoundError

OPENAPI_PATH = "/api/openapi.json"

router = APIRouter(include_in_schema=False)

_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


@router.get("/api/docs")
def get_page() -> HTMLResponse:
    """Get the documentation of the API."""
    return get_swagger_ui_html(
        openapi_url=OPENAPI_PATH,
        title="tutumd API",
        swagger_js_url="/api/docs/swagger-ui-bundle.js",
        swagger_css_url="/api/docs/swagger-ui.css",
        swagger_favicon_url="/api/docs/favicon-32x32.png",
    )


@router.get("/api/docs/{name}")
def get_file(name: str) -> Response:
    """Get a file of Swagger UI."""
    if name not in _MEDIA_TYPES:
        raise NotFoundError(NOT_FOUND)
    content = (resources.files("fastapi_swagger.resources") / name).read_bytes()
    return Response(content, media_type=_MEDIA_TYPES[name], headers={"Cache-Control": "max-age=86400"})
