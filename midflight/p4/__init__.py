"""The P4_16 front end: source text becomes a checked program, and that becomes P4Info."""
