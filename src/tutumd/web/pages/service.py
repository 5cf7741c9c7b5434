"""Pages: service."""

from fastapi import APIRouter

router = APIRouter()
