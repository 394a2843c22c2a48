"""A running controller's commands: JSON over gRPC, on a Unix socket that only its owner can reach."""
