"""Files that pages load: scripts, styles and icons, under names that change with their content."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.errors import NOT_FOUND, NotFoundError

router = APIRouter()

_MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file for browsers, plain and compressed."""

    address: str
    media_type: str
    content: bytes
    compressed: bytes


@router.get("/static/{name}")
def get_asset(request: Request, name: str) -> Response:
    """Get a file by its name with the hash of its content."""
    asset = next((each for each in load_assets().values() if each.address == name), None)
    if asset is None:
        raise NotFoundError(NOT_FOUND)
    headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.compressed, media_type=asset.media_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(asset.content, media_type=asset.media_type, headers=headers)


@cache
def load_assets() -> dict[str, Asset]:
    """Return all files by their paths below `static`."""
    return {path: _load(path, file) for path, file in _walk(resources.files(__package__) / "static")}


def _walk(folder: Traversable, start: str = "") -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for each in sorted(folder.iterdir(), key=lambda item: item.name):
        if each.is_dir():
            found += _walk(each, f"{start}{each.name}/")
        elif each.name.rpartition(".")[2] in _MEDIA_TYPES:
            found.append((f"{start}{each.name}", each))
    return found


def _load(path: str, file: Traversable) -> Asset:
    content = file.read_bytes()
    stem, _, kind = path.rpartition("/")[2].rpartition(".")
    return Asset(
        address=f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{kind}",
        media_type=_MEDIA_TYPES[kind],
        content=content,
        compressed=gzip.compress(content, 9, mtime=0),
    )
