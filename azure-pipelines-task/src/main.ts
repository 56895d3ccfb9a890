/**
 * The task: read the inputs and the service connection, run acr-cleanup, and report to the agent.
 *
 * acr-cleanup runs in its container or by Python. Its output contains foreign text, so only this
 * handler prints commands for the agent: output variables, issues, the summary and the result.
 */

import * as fs from "fs";
import * as path from "path";
import * as tl from "azure-pipelines-task-lib/task";
import { chooseImage, findDocker, runDocker } from "./docker";
import { forget, Identity, readIdentity } from "./identity";
import { asVariable, Folders, folders, Method, readInputs, readMethod } from "./inputs";
import { Job, withoutSecrets } from "./job";
import { agentNetwork } from "./network";
import { Problem } from "./problem";
import { Cancellation, Ended } from "./processes";
import { findPython, noPython, runPython } from "./python";
import { maskSecrets, outputsOf, publishSummary, readResult, reportIssues, setOutputs, verdictOf } from "./results";
import { cut, tame } from "./text";

function show(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** The method that was used, and how the process ended; undefined if it was not started. */
interface Run {
  readonly method: "docker" | "python";
  readonly ended: Ended | undefined;
}

async function start(method: Method, job: Job, where: Folders, cancellation: Cancellation): Promise<Run> {
  const base = { ...withoutSecrets(process.env), ...agentNetwork(process.env) };
  if (method !== "python") {
    const docker = await findDocker(base);
    if (typeof docker !== "string") {
      const image = chooseImage();
      show(`Running ${image} with docker.`);
      if (cancellation.requested) return { method: "docker", ended: undefined };
      return { method: "docker", ended: await runDocker(docker, job, where, image, base, cancellation) };
    }
    if (method === "docker") {
      throw new Problem(`method is docker, but ${docker}.`, "Use an agent with Linux and Docker (vmImage: ubuntu-latest), or set method: python.");
    }
    show(`Docker is not used: ${docker}.`);
  }
  const python = await findPython(base);
  if (typeof python === "string") throw noPython(python);
  return { method: "python", ended: await runPython(python, job, where, base, cancellation) };
}

function environmentOf(inputs: Record<string, string>, identity: Identity, where: Folders, folder: string): Record<string, string> {
  const environment: Record<string, string> = {
    TF_BUILD: "True",
    SYSTEM_DEFAULTWORKINGDIRECTORY: where.workspace,
    ACR_CLEANUP_RUNTIME: "azure-devops",
    ACR_CLEANUP_INPUTS: asVariable({ ...inputs, "auth-type": identity.authType }),
    ACR_CLEANUP_AUTH: identity.authType,
    ACR_CLEANUP_RESULT: path.join(folder, "result.json"),
    ACR_CLEANUP_SUMMARY: path.join(folder, "ACR cleanup.md"),
    ...identity.environment,
  };
  if ((tl.getVariable("System.Debug") ?? "").toLowerCase() === "true") environment["SYSTEM_DEBUG"] = "True";
  return environment;
}

/** Run the task, and report the result to the agent. Never rejects. */
export async function main(cancellation = new Cancellation()): Promise<void> {
  cancellation.listen();
  let identity: Identity | undefined;
  let outputs = outputsOf(undefined, "");
  try {
    const where = folders();
    const inputs = readInputs(where);
    const method = readMethod();
    identity = readIdentity(where.temporary);
    fs.mkdirSync(where.temporary, { recursive: true });
    const folder = fs.mkdtempSync(path.join(where.temporary, "acr-cleanup-"));
    const environment = environmentOf(inputs, identity, where, folder);
    const paths = Object.values(inputs).filter((value) => path.isAbsolute(value) && !value.includes("\n"));
    const job: Job = { environment, folder, files: [...identity.files, ...paths], show };
    const { method: used, ended } = await start(method, job, where, cancellation);

    const file = path.join(folder, "result.json");
    const result = readResult(file);
    fs.rmSync(file, { force: true });
    maskSecrets(result);
    outputs = outputsOf(result, where.workspace);
    setOutputs(outputs);
    if (inputs["summary"] !== "false") publishSummary(path.join(folder, "ACR cleanup.md"));
    reportIssues(result?.annotations ?? []);
    const verdict = verdictOf(result, ended, cancellation.requested, used);
    tl.setResult(verdict.result, verdict.message, true);
  } catch (error) {
    setOutputs(outputs);
    const text = error instanceof Problem ? error.message : `Unexpected error: ${error instanceof Error ? error.message : String(error)}. Report it, with the log of a run with system.debug: true.`;
    tl.setResult(tl.TaskResult.Failed, cut(tame(text), 4000), true);
  } finally {
    if (identity) forget(identity);
  }
}

void main();
