"""The lab "ECN and active queue management"."""
