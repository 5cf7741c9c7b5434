"""Pages: actions."""

from fastapi import APIRouter

router = APIRouter()
