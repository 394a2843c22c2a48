"""P4Runtime: `client`, what a controller needs; `server`, what a switch serves; `ports`, what carries its packets."""
