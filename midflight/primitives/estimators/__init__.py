"""What hosts compute from a primitive's state and answers: estimates with error bounds, and complete results."""
