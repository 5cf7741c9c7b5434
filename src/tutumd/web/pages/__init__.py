"""The dashboard: pages for people, made on the server, which work without scripts."""
