"""The control plane: a controller for switches that serve P4Runtime, whether it or somebody else started them."""

from midflight.runtime.controller.controller import Controller

__all__ = ["Controller"]
