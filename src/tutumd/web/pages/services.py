"""Pages: services."""

from fastapi import APIRouter

router = APIRouter()
