"""Traffic of hosts without endpoints: requests with fields by name, received messages, and load generators."""
