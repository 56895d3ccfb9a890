/**
 * A job of Azure Pipelines for tests of the handler: folders, variables, programs that record their
 * calls, and a parser of commands for the agent.
 */

import { ChildProcess, spawn } from "child_process";
import * as fs from "fs";
import * as os from "os";
import * as path from "path";

const ROOT = path.resolve(__dirname, "..", "..", "..");
export const BUNDLE = path.join(ROOT, "build", "extension", "AcrCleanupV1", "index.js");
export const MOCKED = path.join(__dirname, "mocked.js");
export const IMAGE = `ghcr.io/org/acr-cleanup@sha256:${"a".repeat(64)}`;
export const CONNECTION = "11111111-2222-3333-4444-555555555555";
export const TOKEN = "the-access-token-of-the-job";

export interface Command {
  readonly name: string;
  readonly properties: Record<string, string>;
  readonly data: string;
}

export interface Call {
  readonly argv: string[];
  readonly environment: Record<string, string>;
  readonly folder: string;
}

/** The behaviour of a stub that runs the image or the package. */
export interface Scenario {
  readonly stdout?: string;
  readonly stderr?: string;
  readonly result?: unknown;
  readonly summary?: string;
  readonly code?: number;
  /** Run until a request to stop. */
  readonly waits?: boolean;
}

export interface Outcome {
  readonly stdout: string;
  readonly code: number | null;
  readonly commands: Command[];
}

export class Job {
  readonly folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "acr-cleanup-test-")));
  readonly workspace = path.join(this.folder, "1", "s");
  readonly temporary = path.join(this.folder, "_temp");
  readonly bin = path.join(this.folder, "bin");
  readonly variables: Record<string, string> = {};
  private child: ChildProcess | undefined;

  constructor() {
    for (const folder of [this.workspace, this.temporary, this.bin, path.join(this.folder, "_tool")]) fs.mkdirSync(folder, { recursive: true });
    this.variables = {
      PATH: this.bin,
      HOME: this.folder,
      STUB: this.folder,
      SYSTEM_DEFAULTWORKINGDIRECTORY: this.workspace,
      BUILD_SOURCESDIRECTORY: this.workspace,
      PIPELINE_WORKSPACE: path.join(this.folder, "1"),
      AGENT_TEMPDIRECTORY: this.temporary,
      AGENT_TOOLSDIRECTORY: path.join(this.folder, "_tool"),
      AGENT_VERSION: "4.265.1",
      SYSTEM_OIDCREQUESTURI: "https://dev.azure.com/contoso/oidctoken",
      ENDPOINT_AUTH_SYSTEMVSSCONNECTION: JSON.stringify({ scheme: "OAuth", parameters: { AccessToken: TOKEN } }),
      ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN: TOKEN,
    };
    this.input("connectedServiceNameARM", CONNECTION);
    this.input("method", "auto");
    this.input("image", IMAGE);
    this.connect("WorkloadIdentityFederation", { tenantid: "the-tenant", serviceprincipalid: "the-client" });
  }

  input(name: string, value: string): this {
    this.variables[`INPUT_${name.replace(/ /g, "_").toUpperCase()}`] = value;
    return this;
  }

  /** Set the service connection, in the form of the agent. */
  connect(scheme: string, parameters: Record<string, string>, data: Record<string, string> = {}): this {
    for (const name of Object.keys(this.variables)) if (name.includes(CONNECTION)) delete this.variables[name];
    this.variables[`ENDPOINT_URL_${CONNECTION}`] = "https://management.azure.com/";
    this.variables[`ENDPOINT_AUTH_${CONNECTION}`] = JSON.stringify({ scheme, parameters });
    this.variables[`ENDPOINT_AUTH_SCHEME_${CONNECTION}`] = scheme;
    for (const [name, value] of Object.entries(parameters)) this.variables[`ENDPOINT_AUTH_PARAMETER_${CONNECTION}_${name.toUpperCase()}`] = value;
    for (const [name, value] of Object.entries(data)) this.variables[`ENDPOINT_DATA_${CONNECTION}_${name.toUpperCase()}`] = value;
    return this;
  }

  /**
   * Add a docker that records its calls and follows the scenario. With security "rootless" or "rootful", it is
   * podman, which has no field SecurityOptions.
   */
  docker(scenario: Scenario = {}, system = "linux", security = "[]", name = "docker"): this {
    return this.stub(name, `const SYSTEM = ${JSON.stringify(system)}, SECURITY = ${JSON.stringify(security)}; const SCENARIO = ${JSON.stringify(scenario)}; ${DOCKER}`);
  }

  /** Add a Python of this version. Its environments have no packages. */
  python(version = "3.13.1", scenario: Scenario = {}): this {
    return this.stub("python3", `const VERSION = ${JSON.stringify(version)}; const SCENARIO = ${JSON.stringify(scenario)}; ${PYTHON}`);
  }

  private stub(name: string, script: string): this {
    fs.writeFileSync(path.join(this.bin, name), `#!${process.execPath}\n${COMMON}\n${script}\n`, { mode: 0o755 });
    return this;
  }

  start(script = BUNDLE): Promise<Outcome> {
    return new Promise((resolve) => {
      const child = spawn(process.execPath, [script], { env: this.variables, cwd: this.workspace, stdio: ["ignore", "pipe", "pipe"] });
      this.child = child;
      let stdout = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
      child.stderr.setEncoding("utf8").on("data", (text: string) => (stdout += text));
      child.once("close", (code) => resolve({ stdout, code, commands: commandsOf(stdout) }));
    });
  }

  cancel(signal: NodeJS.Signals = "SIGINT"): void {
    this.child?.kill(signal);
  }

  async until(name: string): Promise<void> {
    for (let left = 200; left > 0 && !fs.existsSync(path.join(this.folder, name)); left -= 1) await new Promise((done) => setTimeout(done, 50));
  }

  get calls(): Call[] {
    const file = path.join(this.folder, "calls");
    return fs.existsSync(file) ? fs.readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line) as Call) : [];
  }

  /** The call that ran the image or the package. */
  get played(): Call {
    const call = this.calls.find(({ argv }) => argv[0] === "run" || argv.some((word) => word.endsWith("start.py")));
    if (!call) throw new Error("nothing was run");
    return call;
  }

  get inputs(): Record<string, string> {
    return JSON.parse(this.played.environment["ACR_CLEANUP_INPUTS"] ?? "") as Record<string, string>;
  }

  remove(): void {
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Returns every command that the agent would obey. It finds them anywhere in a line. */
export function commandsOf(stdout: string): Command[] {
  const commands: Command[] = [];
  for (const line of stdout.split(/\r\n|\n|\r/)) {
    const at = line.toLowerCase().indexOf("##vso[");
    if (at < 0) continue;
    const end = line.indexOf("]", at);
    const [name = "", ...rest] = line.slice(at + "##vso[".length, end).split(" ");
    const properties = Object.fromEntries(
      rest
        .join(" ")
        .split(";")
        .filter((pair) => pair.includes("="))
        .map((pair) => [pair.slice(0, pair.indexOf("=")).toLowerCase(), unescaped(pair.slice(pair.indexOf("=") + 1))]),
    );
    commands.push({ name, properties, data: unescaped(line.slice(end + 1)) });
  }
  return commands;
}

function unescaped(text: string): string {
  return text.replace(/%3B/g, ";").replace(/%0D/g, "\r").replace(/%0A/g, "\n").replace(/%5D/g, "]").replace(/%AZP25|%25/g, "%");
}

export function completed(outcome: Outcome): Command {
  const completions = outcome.commands.filter(({ name }) => name === "task.complete");
  if (completions.length !== 1 || !completions[0]) throw new Error(`completed ${completions.length} times:\n${outcome.stdout}`);
  return completions[0];
}

export function issues(outcome: Outcome, type: "error" | "warning"): string[] {
  return outcome.commands.filter((command) => command.name === "task.issue" || command.name === "task.logissue").filter((command) => command.properties["type"] === type).map((command) => command.data);
}

export function variables(outcome: Outcome): Record<string, string> {
  const set = outcome.commands.filter((command) => command.name === "task.setvariable" && command.properties["isoutput"] === "true");
  return Object.fromEntries(set.map((command) => [command.properties["variable"] ?? "", command.data]));
}

export function secrets(outcome: Outcome): string[] {
  return outcome.commands.filter((command) => command.name === "task.setsecret").map((command) => command.data);
}

export function result(overrides: Record<string, unknown> = {}): Record<string, unknown> {
  return { schema_version: 1, result: "success", exit_code: 0, outputs: { result: "success", deletedTags: '["shop/web:1"]', deletedCount: "1" }, annotations: [], ...overrides };
}

const COMMON = `
const fs = require("fs"), path = require("path");
const folder = process.env.STUB, argv = process.argv.slice(2);
fs.appendFileSync(path.join(folder, "calls"), JSON.stringify({ argv, environment: process.env, folder: process.cwd() }) + "\\n");
function finish(code) {
  if (SCENARIO.summary) fs.writeFileSync(process.env.ACR_CLEANUP_SUMMARY, SCENARIO.summary);
  if (SCENARIO.result) fs.writeFileSync(process.env.ACR_CLEANUP_RESULT, JSON.stringify(SCENARIO.result));
  process.exitCode = code;
}
function play() {
  process.stdout.write(SCENARIO.stdout || "");
  process.stderr.write(SCENARIO.stderr || "");
  if (!SCENARIO.waits) return finish(SCENARIO.code || 0);
  const timer = setInterval(() => {
    if (!fs.existsSync(path.join(folder, "stopped"))) return;
    clearInterval(timer);
    finish(143);
  }, 20);
  process.on("SIGTERM", () => fs.writeFileSync(path.join(folder, "stopped"), "SIGTERM"));
  fs.writeFileSync(path.join(folder, "started"), "");
}`;

const DOCKER = `
if (argv[0] === "version") console.log(SYSTEM);
else if (argv[0] === "info" && argv[2].includes("SecurityOptions") && SECURITY.startsWith("root")) process.exitCode = 125;
else if (argv[0] === "info") console.log(SECURITY.startsWith("root") ? SECURITY === "rootless" : SECURITY);
else if (argv[0] === "kill") fs.writeFileSync(path.join(folder, "stopped"), argv[2]);
else play();`;

const PYTHON = `
if (argv.includes("-c")) console.log(VERSION + " x86_64 /usr");
else if (argv.includes("venv")) {
  fs.mkdirSync(path.join(argv.at(-1), "bin"), { recursive: true });
  fs.copyFileSync(__filename, path.join(argv.at(-1), "bin", "python"));
} else if (argv.some((word) => word.endsWith("start.py"))) play();`;
