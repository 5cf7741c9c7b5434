"""The first page: what failed, what runs, what waits and why."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import Reader

router = APIRouter()


@router.get("/")
def show_overview(request: Request, visitor: Reader) -> Response:
    """Show the overview."""
    return render(request, "overview.html")
