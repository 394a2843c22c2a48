"""The lab "Heavy hitters"."""
