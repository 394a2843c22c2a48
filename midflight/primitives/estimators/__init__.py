"""Host-side results from a primitive's state and answers: estimates with error bounds, and completed results."""
