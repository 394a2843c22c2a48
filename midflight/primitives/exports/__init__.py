"""Files generated from a program for other tools and for people: scapy layers, Wireshark dissectors, HTML pages."""
