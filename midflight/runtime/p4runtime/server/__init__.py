"""The switch's side of P4Runtime: the server in front of an engine."""
