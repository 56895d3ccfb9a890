"""Start of the container: pick the runtime, run the step, exit with its code."""

import os
import sys

if __name__ == "__main__":
    azure_devops = os.environ.get("ACR_CLEANUP_RUNTIME") == "azure-devops"
    if sys.argv[1:] or not (azure_devops or os.environ.get("GITHUB_ACTIONS") == "true"):
        from acr_cleanup.__main__ import entry

        entry()
        sys.exit()
    from acr_cleanup.pipeline import run

    if azure_devops:
        from acr_cleanup.runtimes.azure_devops import AzureDevOps

        sys.exit(run(AzureDevOps()))
    from acr_cleanup.runtimes.github import GitHub

    sys.exit(run(GitHub()))
