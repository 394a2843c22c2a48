"""The lab "ECMP with an action selector"."""
