"""The control plane: manages switches that serve P4Runtime, whoever made them."""

from midflight.runtime.controller.controller import Controller

__all__ = ["Controller"]
