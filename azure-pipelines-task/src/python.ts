/**
 * Run acr-cleanup with the Python of an agent without Linux containers, in a separate environment
 * with locked packages.
 */

import * as fs from "fs";
import * as path from "path";
import { createHash, randomUUID } from "crypto";
import * as tl from "azure-pipelines-task-lib/task";
import { Folders } from "./inputs";
import { Job } from "./job";
import { Problem } from "./problem";
import { ask, Cancellation, Ended, run } from "./processes";

const CANDIDATES = ["python3", "python", "python3.14", "python3.13", "python3.12", "python3.11"];
const WINDOWS = process.platform === "win32";
const REMEDY = "Add the task UsePythonVersion@0 with versionSpec '3.13' before this one, or run on an agent with Linux and Docker.";

export interface Python {
  readonly program: string;
  /** The version and platform: a prepared environment fits only this Python. */
  readonly version: string;
}

/** Returns a Python that is new enough, or why there is none. */
export async function findPython(environment: NodeJS.ProcessEnv): Promise<Python | string> {
  const rejected: string[] = [];
  for (const name of CANDIDATES) {
    const program = tl.which(name);
    if (!program) continue;
    const version = await ask(program, ["-I", "-c", "import platform, sys; print(*sys.version_info[:3], sep='.', end=' '); print(platform.machine(), sys.base_prefix)"], environment);
    const [, major, minor] = /^(\d+)\.(\d+)\./.exec(version ?? "") ?? [];
    if (version && (Number(major) > 3 || (Number(major) === 3 && Number(minor) >= 11))) return { program, version };
    rejected.push(`${name} is ${version?.split(" ")[0] || "not usable"}`);
  }
  return rejected.length ? `Python is too old: ${rejected.join(", ")}` : "there is no Python on the PATH";
}

/** Returns the folder in the .vsix with the package, its lock file and its start script. */
function shipped(): string {
  return path.join(__dirname, "python");
}

/**
 * Returns the Python of an environment with the locked packages. The environment is kept for later
 * jobs if possible.
 */
async function prepare(python: Python, job: Job, folders: Folders, environment: NodeJS.ProcessEnv, cancellation: Cancellation): Promise<string> {
  const lock = path.join(shipped(), "requirements.lock");
  if (!fs.existsSync(lock)) throw new Problem("This build of the task does not contain the Python package.", "Use method: docker.");
  const key = createHash("sha256").update(fs.readFileSync(lock)).update(python.version).update(python.program).digest("hex").slice(0, 32);
  const kept = keptFolder(folders);
  const ready = path.join(kept, key);
  if (fs.existsSync(path.join(ready, "complete"))) return programOf(ready);

  const folder = path.join(kept, `${key}.${randomUUID().slice(0, 8)}`);
  job.show(`Preparing Python ${python.version.split(" ")[0]} for acr-cleanup in ${folder} ...`);
  const steps: [string, string[], string][] = [
    [python.program, ["-I", "-m", "venv", folder], "Python cannot create environments. On Debian and Ubuntu, install python3-venv."],
    [
      programOf(folder),
      ["-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", lock],
      "Check that the agent reaches a package index (PIP_INDEX_URL, or the task PipAuthenticate@1), or run on an agent with Linux and Docker.",
    ],
  ];
  for (const [program, args, remedy] of steps) {
    const ended = await run(program, args, { environment, show: job.show }, cancellation);
    if (cancellation.requested) return "";
    if (ended.code !== 0) {
      fs.rmSync(folder, { recursive: true, force: true });
      throw new Problem(`Python could not be prepared (exit code ${ended.code}): ${ended.last.at(-1) ?? "no error message"}.`, remedy);
    }
  }
  fs.writeFileSync(path.join(folder, "complete"), "");
  try {
    fs.renameSync(folder, ready);
    return programOf(ready);
  } catch {
    return programOf(folder); // Another job has created it first, or a process keeps it open.
  }
}

function keptFolder(folders: Folders): string {
  for (const folder of [folders.tools, folders.temporary]) {
    if (!folder) continue;
    const kept = path.join(folder, "acr-cleanup");
    try {
      fs.mkdirSync(kept, { recursive: true });
      fs.accessSync(kept, fs.constants.W_OK);
      return kept;
    } catch {
      continue;
    }
  }
  throw new Problem("Neither Agent.ToolsDirectory nor Agent.TempDirectory can be written to.", "Give the user of the agent write access to one of them.");
}

export function programOf(folder: string, windows = WINDOWS): string {
  return windows ? path.join(folder, "Scripts", "python.exe") : path.join(folder, "bin", "python");
}

/** Run the package until it ends. Returns undefined if the job was cancelled before the start. */
export async function runPython(python: Python, job: Job, folders: Folders, base: NodeJS.ProcessEnv, cancellation: Cancellation): Promise<Ended | undefined> {
  let program: string;
  try {
    program = await prepare(python, job, folders, base, cancellation);
  } catch (error) {
    if (cancellation.requested) return undefined;
    throw error;
  }
  if (cancellation.requested) return undefined;
  // -I: never import modules from the workspace. -B: write no bytecode into the folder of the task.
  const args = ["-I", "-B", "-u", path.join(shipped(), "start.py")];
  return run(program, args, { environment: { ...base, ...job.environment }, folder: folders.workspace, show: job.show }, cancellation);
}

export function noPython(why: string): Problem {
  return new Problem(`acr-cleanup needs Python 3.11 or newer, but ${why}.`, REMEDY);
}
