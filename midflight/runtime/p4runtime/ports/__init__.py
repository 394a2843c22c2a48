"""The ports of a switch with a P4Runtime server: network interfaces, or pcap files."""
