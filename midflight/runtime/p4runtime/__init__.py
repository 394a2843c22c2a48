"""P4Runtime: `client` for controllers, `server` for switches, and `ports` for the packets of a served switch."""
