"""Metric agents: what C-SMA and C-NMA measure, when they send updates, and what a C-PS keeps of them (RFC 10053).

`publisher` and `board` are the two ends of the distribution of metrics; they neither read clocks nor send packets.
"""
