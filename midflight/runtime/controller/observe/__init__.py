"""Observability of a controller: events, a log of them, metrics and an alert log."""
