"""What a controller reports of itself: events, a structured log and metrics."""
