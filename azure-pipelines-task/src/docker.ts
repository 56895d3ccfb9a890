/** Run acr-cleanup in its container: read-only, without capabilities, as the user of the agent. */

import * as fs from "fs";
import { spawn } from "child_process";
import { randomUUID } from "crypto";
import * as tl from "azure-pipelines-task-lib/task";
import { Folders, isInside } from "./inputs";
import { Problem } from "./problem";
import { Job } from "./job";
import { AUTHORITIES } from "./network";
import { ask, Cancellation, Ended, run } from "./processes";

/**
 * The image of this release, by its digest; empty before a release. Packing the task takes it from
 * action.yml.
 */
declare const PINNED_IMAGE: string;
const PINNED = typeof PINNED_IMAGE === "string" ? PINNED_IMAGE : "";

const REFERENCE = /^(?=.{1,512}$)[a-zA-Z0-9][a-zA-Z0-9.-]*(?::[0-9]+)?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;

const PROXIES = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"];

export interface Docker {
  readonly program: string;
  /** Is the daemon rootless? Then root in a container is the user of the agent. */
  readonly rootless: boolean;
  /** Does the daemon map the users of containers to others? */
  readonly remapped: boolean;
}

/** Returns the Docker of this machine, or why it cannot run Linux containers. */
export async function findDocker(environment: NodeJS.ProcessEnv): Promise<Docker | string> {
  if (process.platform === "win32") return "this agent runs Windows, and a Linux container cannot mount its folders under the same paths";
  const program = tl.which("docker") || tl.which("podman");
  if (!program) return "there is no docker on the PATH";
  const inquire = (verb: string, format: string): Promise<string | undefined> => ask(program, [verb, "--format", format], environment);
  // Podman without a service may know only the second one.
  const system = (await inquire("version", "{{.Server.Os}}")) ?? (await inquire("info", "{{.Host.OS}}"));
  if (system === undefined) return "docker does not answer: its daemon is not running, or the user of the agent has no access to it";
  // The lines before the last one are warnings of the client.
  const last = system.split("\n").pop()?.trim().toLowerCase() ?? "";
  if (last !== "linux") return `docker runs ${last || "unknown"} containers`;
  const security = await inquire("info", "{{json .SecurityOptions}}");
  if (security !== undefined) return { program, rootless: security.includes("rootless"), remapped: security.includes("name=userns") };
  // Podman, also behind the name docker, has no such field: https://github.com/microsoft/azure-pipelines-agent/issues/4297
  const rootless = await inquire("info", "{{.Host.Security.Rootless}}");
  return { program, rootless: (rootless ?? "").split("\n").some((line) => line.trim() === "true"), remapped: false };
}

/** Returns the image that the pipeline names, or the image of this release. */
export function chooseImage(): string {
  const image = (tl.getInput("image") ?? "").trim() || PINNED;
  if (!image) {
    throw new Problem("This build of the task is not a release, so it has no image.", "Set image, or set method: python.");
  }
  // Docker would read a text that begins with a dash as an option.
  if (!REFERENCE.test(image)) {
    throw new Problem(`image: '${image}' is not an image reference.`, "Write it as registry/repository@sha256:digest.");
  }
  if (!image.includes("@sha256:")) {
    tl.warning(`image: ${image} has no digest, so its content may change at any time.`);
  }
  return image;
}

/**
 * Returns the arguments of `docker run`. They contain no values, since every user of the machine
 * can read them.
 */
export function dockerArguments(job: Job, folders: Folders, image: string, name: string, docker: Docker): string[] {
  const { workspace, readable } = folders;
  const user = !docker.rootless && process.getuid && process.getgid ? ["--user", `${process.getuid()}:${process.getgid()}`] : [];
  const mounts = new Map<string, boolean>();
  if (readable && readable !== workspace && fs.existsSync(readable)) mounts.set(readable, false);
  mounts.set(workspace, true);
  mounts.set(job.folder, true);
  const authorities = AUTHORITIES.map((variable) => job.environment[variable] ?? "");
  for (const file of [...job.files, ...authorities]) {
    const mounted = [...mounts.keys()].some((folder) => isInside(folder, file));
    if (file.startsWith("/") && !mounted && fs.existsSync(file)) mounts.set(file, false);
  }
  return [
    "run", "--rm", "--name", name, "--pull", "missing",
    "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", ...user,
    ...(docker.remapped ? ["--userns", "host"] : []),
    // Mounted under the same paths, so that absolute paths are valid inside and outside.
    ...[...mounts].flatMap(([folder, writable]) => ["--mount", bind(folder, writable)]),
    "--workdir", workspace,
    "--env", "HOME=/tmp",
    ...Object.keys(job.environment).sort().flatMap((variable) => ["--env", variable]),
    image,
  ];
}

function bind(folder: string, writable: boolean): string {
  const fields = ["type=bind", `source=${folder}`, `target=${folder}`, ...(writable ? [] : ["readonly"])];
  return fields.map((field) => (/[",]/.test(field) ? `"${field.replace(/"/g, '""')}"` : field)).join(",");
}

/** Run the image until it ends. */
export async function runDocker(docker: Docker, job: Job, folders: Folders, image: string, base: NodeJS.ProcessEnv, cancellation: Cancellation): Promise<Ended> {
  const name = `acr-cleanup-${randomUUID()}`;
  const passed = pick(base, [...PROXIES, ...AUTHORITIES.filter((variable) => fs.existsSync(base[variable] ?? ""))]);
  const complete: Job = { ...job, environment: { ...passed, ...job.environment } };
  const environment = { ...base, ...complete.environment };
  const send = (signal: string, otherwise: () => void): void => {
    // Not through the client: if the client is killed, its container continues and still deletes.
    const killer = spawn(docker.program, ["kill", "--signal", signal, name], { env: base, stdio: "ignore" });
    killer.once("error", otherwise);
    killer.once("close", (code) => {
      if (code !== 0) otherwise();
    });
  };
  return run(
    docker.program,
    dockerArguments(complete, folders, image, name, docker),
    {
      environment,
      folder: folders.workspace,
      show: job.show,
      // While the client still pulls, there is no container: stop the client.
      stop: (child) => send("TERM", () => child.kill("SIGTERM")),
      kill: () => send("KILL", () => undefined),
    },
    cancellation,
  );
}

function pick(environment: NodeJS.ProcessEnv, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, environment[name] ?? ""]).filter(([, value]) => value));
}
