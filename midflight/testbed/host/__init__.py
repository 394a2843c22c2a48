"""Processes of workers, servers and links in networks of namespaces: `python -m midflight.testbed.host`."""
