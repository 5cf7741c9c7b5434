"""Pages: connect."""

from fastapi import APIRouter

router = APIRouter()
