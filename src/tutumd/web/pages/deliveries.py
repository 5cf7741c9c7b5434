"""Pages: deliveries."""

from fastapi import APIRouter

router = APIRouter()
