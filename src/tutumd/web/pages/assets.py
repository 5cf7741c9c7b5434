"""Files that pages load: scripts, styles and icons, with names that change with their content."""

import gzip
import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from tutumd.errors import NOT_FOUND, NotFoundError

router = APIRouter()

_FOLDER = Path(__file__).parent / "static"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@router.get("/static/{name}")
def get_asset(request: Request, name: str) -> Response:
    """Get a file by its name with the hash of its content."""
    path = next((path for path, address in name_assets().items() if address == name), None)
    if path is None:
        raise NotFoundError(NOT_FOUND)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    is_compressed = "gzip" in request.headers.get("accept-encoding", "")
    if is_compressed:
        headers["Content-Encoding"] = "gzip"
    return Response(
        read_asset(path, is_compressed=is_compressed), media_type=_MEDIA_TYPES[Path(path).suffix], headers=headers
    )


@cache
def name_assets() -> dict[str, str]:
    """Return the addresses of all files, by their paths below `static`."""
    paths = [file.relative_to(_FOLDER) for file in _FOLDER.rglob("*") if file.suffix in _MEDIA_TYPES]
    hashes = [hashlib.sha256(read_asset(str(path))).hexdigest()[:12] for path in paths]
    return {str(path): f"{path.stem}.{digest}{path.suffix}" for path, digest in zip(paths, hashes, strict=True)}


@cache
def read_asset(path: str, *, is_compressed: bool = False) -> bytes:
    """Return a file below `static`, plain or by gzip."""
    content = (_FOLDER / path).read_bytes()
    return gzip.compress(content, 9, mtime=0) if is_compressed else content
