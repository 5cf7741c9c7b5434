"""Texts for people about deliveries, senders, handlers and engines."""
