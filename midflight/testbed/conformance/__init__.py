"""Conformance tests: traces of packets with the answers that a device must give, and the harness that plays them."""
