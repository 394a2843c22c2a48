"""Ports of the embedded switch: interfaces whose packets pass an engine in native code, and pcap files."""
