"""The lab "Priority queues"."""
