/** Read the inputs of the task under the names of acr-cleanup, and the folders of the job. */

import * as path from "path";
import * as tl from "azure-pipelines-task-lib/task";
import contract from "./contract.json";
import { Problem } from "./problem";

/** Bytes of an environment variable. The limit of Linux is 131,072, including the name. */
const MAX_BYTES = 128 * 1024 - 1024;

export type Method = "auto" | "docker" | "python";

/** The folders of the job. */
export interface Folders {
  /** The base of relative paths, and the only folder that is written to. Later steps see it. */
  readonly workspace: string;
  /**
   * The parent folder with artifacts and other repositories that the job downloaded. It is only
   * read.
   */
  readonly readable: string | undefined;
  /** Files that are deleted at the end of the job. */
  readonly temporary: string;
  /** Files that remain after the job on a self-hosted agent. */
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

/** Returns the inputs that the pipeline sets, by the names of acr-cleanup. */
export function readInputs({ workspace }: Folders): Record<string, string> {
  const inputs: Record<string, string> = {};
  for (const option of contract.inputs) {
    let value = (tl.getInput(option.task) ?? "").trim();
    if (option.kind === "path" && value) {
      value = relativeTo(workspace, value);
    } else if (option.kind === "boolean") {
      value = value.toLowerCase(); // `${{ parameters.dryRun }}` is True
    }
    if (value) inputs[option.input] = value;
  }
  return inputs;
}

/**
 * Undo what the agent does to paths: it makes them absolute, and replaces a missing one by the
 * folder of the sources.
 */
function relativeTo(workspace: string, value: string): string {
  const named = path.resolve(workspace, value);
  const sources = path.resolve(tl.getVariable("Build.SourcesDirectory") || workspace);
  if (named === workspace || named === sources) return "";
  return isInside(workspace, named) ? path.relative(workspace, named) : named;
}

/**
 * Returns all inputs in one variable: shells and container engines drop variables whose names have
 * dashes.
 */
export function asVariable(inputs: Record<string, string>): string {
  const text = JSON.stringify(inputs);
  if (Buffer.byteLength(text) > MAX_BYTES) {
    throw new Problem(
      `The inputs take ${Buffer.byteLength(text)} bytes, and the limit of an environment variable is ${MAX_BYTES}.`,
      "Move the long lists, such as clusters, into the configuration file (configFile).",
    );
  }
  return text;
}

export function readMethod(): Method {
  const method = (tl.getInput("method") || "auto").trim().toLowerCase();
  if (method !== "auto" && method !== "docker" && method !== "python") {
    throw new Problem(`method: '${method}' is not one of the choices.`, "Use auto, docker or python.");
  }
  return method;
}
