"""The C-PS of a running network: from the records of agents to the weights that its ingresses follow (RFC 10053).

`liveness` notices instances that have died, `health` probes them, `selector` decides weights, and `rounds` gives them
to whoever writes the tables. Only `health` has sockets, so a controller, an ingress and a simulation run the same code.
"""
