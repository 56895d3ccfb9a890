"""
The decision, and nothing else.

Pure: no I/O, no clock, no environment, no async.
A value travels API object -> `ImageUse` -> `UsageIndex` -> `KeepReason` -> `Decision` -> `Step` -> `Outcome`,
and each hop changes its type once.
"""
