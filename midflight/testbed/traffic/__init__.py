"""What hosts send and receive without an endpoint: requests by name, captures, and generators of load."""
