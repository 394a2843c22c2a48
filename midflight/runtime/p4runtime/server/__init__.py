"""The switch's side of P4Runtime: a server in front of an engine."""
