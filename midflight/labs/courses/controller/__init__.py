"""The lab "A P4Runtime controller"."""
