"""The command service of a running controller: JSON over gRPC, on a Unix socket that only its owner can access."""
