"""The dashboard: pages for people, which call the same functions of `application` as the API."""
