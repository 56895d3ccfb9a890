/** What the child has left behind, checked and within bounds, and what the agent is told of it. */

import * as fs from "fs";
import * as path from "path";
import * as tl from "azure-pipelines-task-lib/task";
import contract from "./contract.json";
import { mask } from "./identity";
import { Ended } from "./processes";
import { cut, tame } from "./text";

/** Characters of one output variable: it becomes a variable of every later process, and Windows takes 32,766. */
export const MAX_VALUE = 24_000;
/** Issues of each type: the agent shows ten per task. One place is for saying how many more there are, one for how it ended. */
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

/** The result file, as far as it makes sense; undefined where there is none. It came from a process that reads foreign text. */
export function readResult(file: string): Result | undefined {
  let found: unknown;
  try {
    if (fs.statSync(file).size > MAX_BYTES) return undefined;
    found = JSON.parse(fs.readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
  if (!isObject(found) || found["schema_version"] !== 1 || typeof found["result"] !== "string") return undefined;
  const outputs = isObject(found["outputs"]) ? found["outputs"] : {};
  const annotations = Array.isArray(found["annotations"]) ? found["annotations"] : [];
  const secrets = Array.isArray(found["secrets"]) ? found["secrets"] : [];
  return {
    result: found["result"],
    exitCode: typeof found["exit_code"] === "number" ? found["exit_code"] : undefined,
    outputs: Object.fromEntries(Object.entries(outputs).filter((entry): entry is [string, string] => typeof entry[1] === "string")),
    // There are issues of two types; what is only said stands in the log.
    annotations: annotations.filter(isObject).filter((each) => each["level"] !== "info").map((each) => ({
      level: each["level"] === "error" ? "error" : "warning",
      title: String(each["title"] ?? ""),
      text: String(each["text"] ?? ""),
    })),
    secrets: secrets.filter((each): each is string => typeof each === "string"),
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Every output variable there is, within its bounds, whatever happened. */
export function outputsOf(result: Result | undefined, workspace: string): Record<string, string> {
  const values: Record<string, string> = {};
  for (const each of contract.outputs) values[each.variable] = each.failure;
  for (const each of contract.outputs) {
    const value = result?.outputs[each.variable];
    if (value === undefined) continue;
    if (each.variable.endsWith("Tags")) {
      const list = shortened(value);
      values[each.variable] = list;
      if (list !== value) values[`${each.variable}Truncated`] = "true";
    } else if (each.variable.endsWith("Path")) {
      values[each.variable] = value ? cutAway(path.resolve(workspace, value)) : "";
    } else if (!(each.variable.endsWith("Truncated") && values[each.variable] === "true")) {
      values[each.variable] = cutAway(value);
    }
  }
  if (result && !result.outputs["result"]) values["result"] = cutAway(result.result);
  return values;
}

/** Whole or not at all: half a path names something else. */
function cutAway(value: string): string {
  return value.length <= MAX_VALUE && tame(value) === value && !value.includes("\n") ? value : "";
}

/** A JSON array that fits, cut between two of its strings. acr-cleanup writes no quote inside of a string but as an escape. */
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

/** Hand on what later steps decide by. */
export function tellOutputs(outputs: Record<string, string>): void {
  for (const [name, value] of Object.entries(outputs)) tl.setVariable(name, value, false, true);
}

export function tellSecrets(result: Result | undefined): void {
  for (const each of result?.secrets ?? []) mask(each);
}

/** The tab Extensions of the run shows it. The file stays: the agent uploads it when it finds the time. */
export function tellSummary(file: string): void {
  if (fs.existsSync(file) && fs.statSync(file).size > 0) tl.uploadSummary(file);
}

/** Issues stand on the page of the run; there is room for few. */
export function tellIssues(annotations: readonly Annotation[]): void {
  for (const level of ["error", "warning"] as const) {
    const ours = annotations.filter((each) => each.level === level);
    const texts = ours.slice(0, MAX_ISSUES).map((each) => `${cut(each.title, 200)}: ${each.text}`);
    const more = ours.length - texts.length;
    if (more > 0) texts.push(`There are ${more} more of these. The log and the summary name them.`);
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

const SUMMARY = "The log and the summary (tab Extensions) say what happened.";

/** How the task ends: a success only where both the exit code of the process and what it wrote say so. */
export function judge(result: Result | undefined, ended: Ended | undefined, cancelled: boolean, method: string): Verdict {
  const failed = (message: string): Verdict => ({ result: tl.TaskResult.Failed, message });
  if (cancelled) {
    // There is no Canceled to complete with: the agent itself gives the cancelled job that result.
    if (!ended) return failed("The job was cancelled before anything was read. Nothing was deleted.");
    return failed(result ? `The job was cancelled. ${SUMMARY}` : "The job was cancelled, and acr-cleanup left no result: see the log for what was deleted until then.");
  }
  if (!ended || ended.code === null) return failed(`acr-cleanup was ended by ${ended?.signal ?? "somebody"}. See the log for what was deleted until then.`);
  if (!result) return failed(withoutResult(ended, method));
  // Some container engines lose the exit code of what they run; what it wrote about itself is the same number.
  const code = ended.code || (result.exitCode ?? 1);
  if (code <= 1 && result.result === "partial") {
    return { result: tl.TaskResult.SucceededWithIssues, message: `Some items failed. ${SUMMARY}` };
  }
  if (code === 0) return { result: tl.TaskResult.Succeeded, message: "" };
  if (code === 2) return failed("The inputs or the configuration are wrong: nothing was read or deleted. The issues say what to correct.");
  if (code === 3) return failed(`Refused: nothing was deleted. ${SUMMARY}`);
  return failed(`acr-cleanup ended with exit code ${code} (${tame(cut(result.result, 100))}). ${SUMMARY}`);
}

function withoutResult(ended: Ended, method: string): string {
  const said = ended.last.length ? ` It says: ${cut(ended.last.slice(-2).join(" "), 1000)}` : "";
  if (method === "docker" && [125, 126, 127].includes(ended.code ?? 0)) {
    return `docker could not run the image (exit code ${ended.code}).${said} Look whether the agent reaches the registry of the image, name a mirror of it in image, or set method: python.`;
  }
  if (ended.code === 137) return "acr-cleanup was killed (exit code 137), most likely because the machine ran out of memory. See the log for what was deleted until then.";
  const hint =
    method === "docker"
      ? " If the agent itself runs in a container, or DOCKER_HOST names another machine, its docker cannot see its folders: set method: python."
      : "";
  return `acr-cleanup ended with exit code ${ended.code} and left no result.${said}${hint}`;
}
