/** Read the result of the child, check it, and report it to the agent. */

import * as fs from "fs";
import * as path from "path";
import * as tl from "azure-pipelines-task-lib/task";
import contract from "./contract.json";
import { mask } from "./identity";
import { Ended } from "./processes";
import { cut, tame } from "./text";

/**
 * Characters of an output variable. It becomes a variable of every later process, and Windows
 * allows 32,766.
 */
export const MAX_VALUE = 24_000;
/**
 * Issues of each type. The agent shows ten per task: one is for the number of further issues, one
 * for the result.
 */
export const MAX_ISSUES = 8;
export const MAX_MESSAGE = 4000;
const MAX_BYTES = 16 * 1024 * 1024;

export interface Annotation {
  readonly level: "error" | "warning";
  readonly title: string;
  readonly text: string;
}

export interface Result {
  readonly result: string;
  readonly exitCode: number | undefined;
  readonly outputs: Record<string, string>;
  readonly annotations: readonly Annotation[];
  readonly secrets: readonly string[];
}

/**
 * Returns the valid parts of the result file; undefined without a valid file. The child reads
 * foreign text, so check all.
 */
export function readResult(file: string): Result | undefined {
  let document: unknown;
  try {
    if (fs.statSync(file).size > MAX_BYTES) return undefined;
    document = JSON.parse(fs.readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
  if (!isObject(document) || document["schema_version"] !== 1 || typeof document["result"] !== "string") return undefined;
  const outputs = isObject(document["outputs"]) ? document["outputs"] : {};
  const annotations = Array.isArray(document["annotations"]) ? document["annotations"] : [];
  const secrets = Array.isArray(document["secrets"]) ? document["secrets"] : [];
  return {
    result: document["result"],
    exitCode: typeof document["exit_code"] === "number" ? document["exit_code"] : undefined,
    outputs: Object.fromEntries(Object.entries(outputs).filter((entry): entry is [string, string] => typeof entry[1] === "string")),
    // Issues are errors or warnings. Annotations of level info are only in the log.
    annotations: annotations.filter(isObject).filter((annotation) => annotation["level"] !== "info").map((annotation) => ({
      level: annotation["level"] === "error" ? "error" : "warning",
      title: String(annotation["title"] ?? ""),
      text: String(annotation["text"] ?? ""),
    })),
    secrets: secrets.filter((secret): secret is string => typeof secret === "string"),
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Returns every output variable, within its size limit. Without a result, the values are those of a
 * failure.
 */
export function outputsOf(result: Result | undefined, workspace: string): Record<string, string> {
  const values: Record<string, string> = {};
  for (const { variable, failure } of contract.outputs) values[variable] = failure;
  for (const { variable } of contract.outputs) {
    const value = result?.outputs[variable];
    if (value === undefined) continue;
    if (variable.endsWith("Tags")) {
      const list = shortened(value);
      values[variable] = list;
      if (list !== value) values[`${variable}Truncated`] = "true";
    } else if (variable.endsWith("Path")) {
      values[variable] = value ? wholeOrEmpty(path.resolve(workspace, value)) : "";
    } else if (!(variable.endsWith("Truncated") && values[variable] === "true")) {
      values[variable] = wholeOrEmpty(value);
    }
  }
  if (result && !result.outputs["result"]) values["result"] = wholeOrEmpty(result.result);
  return values;
}

/**
 * Returns a value that is short and safe, else an empty text: half a path would name another file.
 */
function wholeOrEmpty(value: string): string {
  return value.length <= MAX_VALUE && tame(value) === value && !value.includes("\n") ? value : "";
}

/**
 * Cuts a JSON array between two strings, so that it fits. acr-cleanup escapes all quotes inside
 * strings.
 */
function shortened(list: string): string {
  if (isList(list) && list.length <= MAX_VALUE) return list;
  const end = list.slice(0, MAX_VALUE - 2).lastIndexOf('","');
  const fitting = end < 0 ? "[]" : `${list.slice(0, end + 1)}]`;
  return isList(fitting) ? fitting : "[]";
}

function isList(text: string): boolean {
  try {
    return Array.isArray(JSON.parse(text)) && tame(text) === text;
  } catch {
    return false;
  }
}

/** Set the output variables, for later steps. */
export function setOutputs(outputs: Record<string, string>): void {
  for (const [name, value] of Object.entries(outputs)) tl.setVariable(name, value, false, true);
}

export function maskSecrets(result: Result | undefined): void {
  for (const secret of result?.secrets ?? []) mask(secret);
}

/** Show the summary on the tab Extensions of the run. Keep the file: the agent uploads it later. */
export function publishSummary(file: string): void {
  if (fs.existsSync(file) && fs.statSync(file).size > 0) tl.uploadSummary(file);
}

/** Report the annotations as issues, which the page of the run shows. Their number is limited. */
export function reportIssues(annotations: readonly Annotation[]): void {
  for (const level of ["error", "warning"] as const) {
    const issues = annotations.filter((annotation) => annotation.level === level);
    const texts = issues.slice(0, MAX_ISSUES).map((issue) => `${cut(issue.title, 200)}: ${issue.text}`);
    const more = issues.length - texts.length;
    if (more > 0) texts.push(`There are ${more} more of these. The log and the summary list them.`);
    for (const text of texts) {
      const message = cut(tame(text), MAX_MESSAGE);
      if (level === "error") tl.error(message);
      else tl.warning(message);
    }
  }
}

export interface Verdict {
  readonly result: tl.TaskResult;
  readonly message: string;
}

const SUMMARY = "The log and the summary (tab Extensions) have the details.";

/**
 * Returns the result of the task. It succeeds only if both the exit code and the result file report
 * success.
 */
export function verdictOf(result: Result | undefined, ended: Ended | undefined, cancelled: boolean, method: string): Verdict {
  const failed = (message: string): Verdict => ({ result: tl.TaskResult.Failed, message });
  if (cancelled) {
    // A task cannot complete as Canceled: the agent sets this result of a cancelled job itself.
    if (!ended) return failed("The job was cancelled before anything was read. Nothing was deleted.");
    return failed(result ? `The job was cancelled. ${SUMMARY}` : "The job was cancelled, and acr-cleanup left no result. The log shows what was deleted before.");
  }
  if (!ended || ended.code === null) return failed(`acr-cleanup was ended by ${ended?.signal ?? "an unknown signal"}. The log shows what was deleted before.`);
  if (!result) return failed(withoutResult(ended, method));
  // Some container engines lose the exit code of the process. The result file has the same number.
  const code = ended.code || (result.exitCode ?? 1);
  if (code <= 1 && result.result === "partial") {
    return { result: tl.TaskResult.SucceededWithIssues, message: `Some items failed. ${SUMMARY}` };
  }
  if (code === 0) return { result: tl.TaskResult.Succeeded, message: "" };
  if (code === 2) return failed("The inputs or the configuration are wrong: nothing was read or deleted. Correct what the issues name.");
  if (code === 3) return failed(`Refused: nothing was deleted. ${SUMMARY}`);
  return failed(`acr-cleanup ended with exit code ${code} (${tame(cut(result.result, 100))}). ${SUMMARY}`);
}

function withoutResult(ended: Ended, method: string): string {
  const lastLines = ended.last.length ? ` Its last lines: ${cut(ended.last.slice(-2).join(" "), 1000)}` : "";
  if (method === "docker" && [125, 126, 127].includes(ended.code ?? 0)) {
    return `docker could not run the image (exit code ${ended.code}).${lastLines} Check that the agent reaches the registry of the image, set image to a mirror of it, or set method: python.`;
  }
  if (ended.code === 137) return "acr-cleanup was killed (exit code 137), most likely because the machine ran out of memory. The log shows what was deleted before.";
  const hint =
    method === "docker"
      ? " If the agent itself runs in a container, or DOCKER_HOST names another machine, its docker cannot see its folders: set method: python."
      : "";
  return `acr-cleanup ended with exit code ${ended.code} and left no result.${lastLines}${hint}`;
}
