"""What hosts make of a primitive's state and answers: estimates with their bounds, and results made complete."""
