"""The controller's side of P4Runtime: sessions with switches, and the messages that they exchange."""
