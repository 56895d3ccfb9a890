/** The inputs of the task as the inputs that acr-cleanup knows, and the folders of the job. */

import * as path from "path";
import * as tl from "azure-pipelines-task-lib/task";
import contract from "./contract.json";
import { Problem } from "./problem";

/** Bytes of one environment variable that Linux takes are 131,072, its name among them. */
const MAX_BYTES = 128 * 1024 - 1024;

export type Method = "auto" | "docker" | "python";

/** The folders of the job. */
export interface Folders {
  /** Where relative paths begin, and the only one that is written to: later steps see it. */
  readonly workspace: string;
  /** What the job has downloaded beside it: artifacts, further repositories. It is only read. */
  readonly readable: string | undefined;
  /** Files that live as long as the job. */
  readonly temporary: string;
  /** Files that outlive the job, on an agent of one's own. */
  readonly tools: string | undefined;
}

export function folders(): Folders {
  const workspace = path.resolve(
    tl.getVariable("System.DefaultWorkingDirectory") || tl.getVariable("Build.SourcesDirectory") || process.cwd(),
  );
  const job = tl.getVariable("Pipeline.Workspace") || tl.getVariable("Agent.BuildDirectory");
  return {
    workspace,
    readable: job ? path.resolve(job) : undefined,
    temporary: path.resolve(tl.getVariable("Agent.TempDirectory") || path.join(workspace, "..")),
    tools: tl.getVariable("Agent.ToolsDirectory") || undefined,
  };
}

/** Is this path that folder, or below it? */
export function isInside(folder: string, name: string): boolean {
  const relative = path.relative(folder, name);
  return relative === "" || (!relative.startsWith(`..${path.sep}`) && relative !== ".." && !path.isAbsolute(relative));
}

/** What the pipeline says, by the names of acr-cleanup. What it does not say is not in it. */
export function readInputs({ workspace }: Folders): Record<string, string> {
  const inputs: Record<string, string> = {};
  for (const each of contract.inputs) {
    let value = (tl.getInput(each.task) ?? "").trim();
    if (each.kind === "path" && value) {
      value = relativeTo(workspace, value);
    } else if (each.kind === "boolean") {
      value = value.toLowerCase(); // `${{ parameters.dryRun }}` is True
    }
    if (value) inputs[each.input] = value;
  }
  return inputs;
}

/** The agent makes every path absolute, and makes the folder of the sources of one that was not given. */
function relativeTo(workspace: string, value: string): string {
  const named = path.resolve(workspace, value);
  const sources = path.resolve(tl.getVariable("Build.SourcesDirectory") || workspace);
  if (named === workspace || named === sources) return "";
  return isInside(workspace, named) ? path.relative(workspace, named) : named;
}

/** The inputs in one variable: shells and container engines lose names with dashes. */
export function asVariable(inputs: Record<string, string>): string {
  const text = JSON.stringify(inputs);
  if (Buffer.byteLength(text) > MAX_BYTES) {
    throw new Problem(
      `The inputs take ${Buffer.byteLength(text)} bytes, and an environment variable holds ${MAX_BYTES}.`,
      "Move the long lists, such as clusters, into the file that configFile names.",
    );
  }
  return text;
}

export function readMethod(): Method {
  const method = (tl.getInput("method") || "auto").trim().toLowerCase();
  if (method !== "auto" && method !== "docker" && method !== "python") {
    throw new Problem(`method: '${method}' is none.`, "Use auto, docker or python.");
  }
  return method;
}
