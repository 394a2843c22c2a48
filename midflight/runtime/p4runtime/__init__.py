"""P4Runtime: the server in front of an engine, and the session that a controller holds."""
