"""The engine `docker`: services of plain and compose containers on one Docker Engine."""
