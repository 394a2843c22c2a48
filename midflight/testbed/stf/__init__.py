"""Packet tests in p4c's STF format: entries and packets in, expected packets out."""
