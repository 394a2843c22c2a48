"""Observability of a controller: events, a structured log, metrics and an alert log."""
