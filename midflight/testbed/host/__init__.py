"""Processes that play hosts in networks of real sockets: `python -m midflight.testbed.host`."""
