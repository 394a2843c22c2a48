"""Ports of the embedded switch: interfaces whose packets go through an engine in native code, and pcap files."""
