"""
Reads a cluster through an AKS run command, for API servers that only the cluster's own network
reaches.

A run command returns what it printed as one text, which Azure cuts at 512 kB without a sign. So the
command prints one compressed block between two markers, with its length and checksum. Anything else
in the log, and anything missing from it, is a blocker.

The block has the objects that mention the registry, as JSON, and the number of the other objects of
each kind. In objects with a pod spec, the differences between replicas are blanked and all other
fields are kept. So replicas are equal lines, which are transferred once, and both ways of reading a
cluster find the same uses, by the same function and under the same field names. The block also
reports what failed, kind by kind.
https://learn.microsoft.com/azure/aks/access-private-cluster#limitations-and-considerations
"""

from __future__ import annotations

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.api_server.scan_result import finished
from acr_cleanup.clusters.run_command.log import CommandResult, body_of, log_problems, split_log
from acr_cleanup.clusters.run_command.records import RecordReader
from acr_cleanup.clusters.run_command.script import ACCESS
from acr_cleanup.clusters.target import Search
from acr_cleanup.core.usage import ClusterScan


def read_result(result: CommandResult, cluster: str, search: Search) -> ClusterScan:
    """
    Read the uses from a finished run command. Failures become blockers; nothing is raised.

    Uses in a block that is whole count even if something else failed, because they are uses all the
    same.
    """
    log = split_log(result.logs)
    reader = RecordReader(cluster, search)
    problems = list(log_problems(result, log))
    try:
        body = body_of(log)
        if body is not None:
            for line in body.split("\n"):
                reader.take(line)
            problems += list(reader.problems(whole=not problems))
    except ReadFailure as failure:
        problems.append(failure)
    reader.read_helm_history()
    findings = reader.findings
    for problem in problems:
        findings.blockers[problem.blocker(cluster)] = None
    return finished(findings, cluster, search.names, ACCESS, reader.objects, helm_note=reader.lacks_history)
