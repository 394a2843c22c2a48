"""Trust in metrics: identities of instances, signed descriptors and records, and a log of what was refused.

A path selector sends requests where metrics say that they are served best. So whoever forges metrics attracts requests;
here each instance first proves who it is, and each record is checked before it counts. Signatures need the extra
`trust`.
"""
