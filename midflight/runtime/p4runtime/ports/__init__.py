"""The ports of a switch that serves P4Runtime: network interfaces, or pcap files that are played."""
