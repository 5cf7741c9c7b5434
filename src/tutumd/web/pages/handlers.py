"""Pages: handlers."""

from fastapi import APIRouter

router = APIRouter()
