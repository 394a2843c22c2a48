"""Host-side functions that turn a primitive's state and answers into results, such as estimates with bounds."""
