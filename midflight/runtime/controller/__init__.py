"""The control plane: manages switches that serve P4Runtime, whoever made them."""
