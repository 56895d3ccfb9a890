/**
 * The task: inputs and the service connection in, output variables, issues, a summary and a result out.
 *
 * Between them runs acr-cleanup, in its container or by Python. It reads foreign text all the time, so it speaks to the agent
 * through this file alone: nothing else prints a command.
 */

import * as fs from "fs";
import * as path from "path";
import * as tl from "azure-pipelines-task-lib/task";
import { chooseImage, findDocker, runDocker } from "./docker";
import { forget, Identity, readIdentity } from "./identity";
import { asVariable, Folders, folders, Method, readInputs, readMethod } from "./inputs";
import { Job, withoutSecrets } from "./job";
import { Problem } from "./problem";
import { Cancellation, Ended } from "./processes";
import { findPython, noPython, runPython } from "./python";
import { judge, outputsOf, readResult, tellIssues, tellOutputs, tellSecrets, tellSummary } from "./results";
import { cut, tame } from "./text";

function show(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** How it is run: by which method, and to which end. */
interface Played {
  readonly method: "docker" | "python";
  readonly ended: Ended | undefined;
}

async function play(method: Method, job: Job, where: Folders, cancellation: Cancellation): Promise<Played> {
  const base = withoutSecrets(process.env);
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
    show(`Not with docker: ${docker}.`);
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

/** Do what the pipeline says, and tell the agent how it went. Never rejects. */
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
    const named = Object.values(inputs).filter((value) => path.isAbsolute(value) && !value.includes("\n"));
    const job: Job = { environment, folder, files: [...identity.files, ...named], show };
    const { method: used, ended } = await play(method, job, where, cancellation);

    const file = path.join(folder, "result.json");
    const result = readResult(file);
    fs.rmSync(file, { force: true });
    tellSecrets(result);
    outputs = outputsOf(result, where.workspace);
    tellOutputs(outputs);
    if (inputs["summary"] !== "false") tellSummary(path.join(folder, "ACR cleanup.md"));
    tellIssues(result?.annotations ?? []);
    const verdict = judge(result, ended, cancellation.requested, used);
    tl.setResult(verdict.result, verdict.message, true);
  } catch (error) {
    tellOutputs(outputs);
    const text = error instanceof Problem ? error.message : `Unexpected error: ${error instanceof Error ? error.message : String(error)}`;
    tl.setResult(tl.TaskResult.Failed, cut(tame(text), 4000), true);
  } finally {
    if (identity) forget(identity);
  }
}

void main();
