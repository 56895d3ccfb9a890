"""
The decision: which tags and manifests to delete, and what happened to them.

Pure: no I/O, no clock, no environment, no async.

Each module below turns one type into the next and needs nothing from a later one:
API object -> `ImageUse` -> `UsageIndex` -> `KeepReason` -> `Decision` -> `Step` -> `Outcome`.
"""
