"""Fabrics: implementations of networks behind one interface, `base.Fabric`.

`sim` is a simulated network in virtual time, `netns` a network of Linux network namespaces and processes.
"""
