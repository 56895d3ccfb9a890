#!/opt/venv/bin/python -Iu
"""Start of the container: pick the runtime, run the step, exit with its code."""

import os
import sys

if __name__ == "__main__":
    azure_devops = os.environ.get("ACR_CLEANUP_RUNTIME") == "azure-devops"
    # Container hooks before 0.7 set no GITHUB_ACTIONS in a job on Kubernetes.
    # https://github.com/actions/runner-container-hooks/pull/215
    github = os.environ.get("GITHUB_ACTIONS") == "true" or {"GITHUB_OUTPUT", "GITHUB_ACTION"} & os.environ.keys()
    if sys.argv[1:] or not (azure_devops or github):
        from acr_cleanup.__main__ import entry

        entry()
        sys.exit()
    from acr_cleanup.runtimes.garbage import relax_gc
    from acr_cleanup.signals import cancelled_on_signals

    relax_gc()
    with cancelled_on_signals():
        from acr_cleanup.pipeline import run

        if azure_devops:
            from acr_cleanup.runtimes.azure_devops import AzureDevOps

            sys.exit(run(AzureDevOps()))
        from acr_cleanup.runtimes.github import GitHub

        sys.exit(run(GitHub()))
