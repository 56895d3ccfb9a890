/** acr-cleanup in its container: read-only, without capabilities, as the user of the agent. */

import * as fs from "fs";
import { spawn } from "child_process";
import { randomUUID } from "crypto";
import * as tl from "azure-pipelines-task-lib/task";
import { Folders, isInside } from "./inputs";
import { Problem } from "./problem";
import { Job } from "./job";
import { ask, Cancellation, Ended, run } from "./processes";

/** Of this release, by its digest; empty where none was released. It is written here when the task is packed, from action.yml. */
declare const PINNED_IMAGE: string;
const PINNED = typeof PINNED_IMAGE === "string" ? PINNED_IMAGE : "";

const REFERENCE = /^(?=.{1,512}$)[a-zA-Z0-9][a-zA-Z0-9.-]*(?::[0-9]+)?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;

/** Files of certificate authorities that a company's agent is told to trust. */
const AUTHORITIES = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"];
const PROXIES = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"];

export interface Docker {
  readonly program: string;
  /** Without root of its own: the user of the agent is root inside of its containers. */
  readonly rootless: boolean;
}

/** The Docker of this machine, or why there is none for Linux containers. */
export async function findDocker(environment: NodeJS.ProcessEnv): Promise<Docker | string> {
  if (process.platform === "win32") return "this agent runs Windows, whose folders no Linux container can be given by their names";
  const program = tl.which("docker");
  if (!program) return "there is no docker on the PATH";
  const system = await ask(program, ["version", "--format", "{{.Server.Os}}"], environment);
  if (system === undefined) return "docker does not answer: its daemon is not running, or the agent's user may not use it";
  // What else stands there are warnings of the client.
  const last = system.split("\n").pop()?.trim().toLowerCase() ?? "";
  if (last !== "linux") return `docker runs ${last || "unknown"} containers`;
  const security = await ask(program, ["info", "--format", "{{json .SecurityOptions}}"], environment);
  return { program, rootless: (security ?? "").includes("rootless") };
}

/** The image of this release, or the one that the pipeline names. */
export function chooseImage(): string {
  const image = (tl.getInput("image") ?? "").trim() || PINNED;
  if (!image) {
    throw new Problem("This build of the task belongs to no release, so it names no image.", "Set image, or method: python.");
  }
  // What begins with a dash would be an option of docker.
  if (!REFERENCE.test(image)) {
    throw new Problem(`image: '${image}' is no reference of an image.`, "Write it as registry/repository@sha256:digest.");
  }
  if (!image.includes("@sha256:")) {
    tl.warning(`image: ${image} is not named by its digest, so it may be another one tomorrow.`);
  }
  return image;
}

/** The arguments of `docker run`: values never stand in them, for every user of the machine can read those. */
export function dockerArguments(job: Job, folders: Folders, image: string, name: string, rootless: boolean): string[] {
  const { workspace, readable } = folders;
  const user = !rootless && process.getuid && process.getgid ? ["--user", `${process.getuid()}:${process.getgid()}`] : [];
  const mounts = new Map<string, boolean>();
  if (readable && readable !== workspace && fs.existsSync(readable)) mounts.set(readable, false);
  mounts.set(workspace, true);
  mounts.set(job.folder, true);
  const named = AUTHORITIES.map((each) => job.environment[each] ?? "");
  for (const file of [...job.files, ...named]) {
    const seen = [...mounts.keys()].some((folder) => isInside(folder, file));
    if (file.startsWith("/") && !seen && fs.existsSync(file)) mounts.set(file, false);
  }
  return [
    "run", "--rm", "--name", name, "--pull", "missing",
    "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", ...user,
    // By the same names as here: absolute paths mean the same inside and outside.
    ...[...mounts].flatMap(([folder, writable]) => ["--mount", bind(folder, writable)]),
    "--workdir", workspace,
    "--env", "HOME=/tmp",
    ...Object.keys(job.environment).sort().flatMap((each) => ["--env", each]),
    image,
  ];
}

function bind(folder: string, writable: boolean): string {
  const fields = ["type=bind", `source=${folder}`, `target=${folder}`, ...(writable ? [] : ["readonly"])];
  return fields.map((field) => (/[",]/.test(field) ? `"${field.replace(/"/g, '""')}"` : field)).join(",");
}

/** Run the image to its end. */
export async function runDocker(docker: Docker, job: Job, folders: Folders, image: string, base: NodeJS.ProcessEnv, cancellation: Cancellation): Promise<Ended> {
  const name = `acr-cleanup-${randomUUID()}`;
  const passed = pick(base, [...PROXIES, ...AUTHORITIES.filter((each) => fs.existsSync(base[each] ?? ""))]);
  const whole: Job = { ...job, environment: { ...passed, ...job.environment } };
  const environment = { ...base, ...whole.environment };
  const tell = (signal: string, otherwise: () => void): void => {
    // Not through the client: killed, it would leave a container behind that goes on deleting.
    const killer = spawn(docker.program, ["kill", "--signal", signal, name], { env: base, stdio: "ignore" });
    killer.once("error", otherwise);
    killer.once("close", (code) => {
      if (code !== 0) otherwise();
    });
  };
  return run(
    docker.program,
    dockerArguments(whole, folders, image, name, docker.rootless),
    {
      environment,
      folder: folders.workspace,
      show: job.show,
      // Without a container yet, it is the client that has to stop: it is still pulling.
      stop: (child) => tell("TERM", () => child.kill("SIGTERM")),
      kill: () => tell("KILL", () => undefined),
    },
    cancellation,
  );
}

function pick(environment: NodeJS.ProcessEnv, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, environment[name] ?? ""]).filter(([, value]) => value));
}
