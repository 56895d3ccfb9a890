/** Run processes: their output is made safe, and a cancelled job stops them. */

import { ChildProcess, spawn } from "child_process";
import { StringDecoder } from "string_decoder";
import { Lines } from "./text";

/** Milliseconds between the request to stop and the kill. The agent gives the task ten seconds. */
export const GRACE = 8000;

export interface Ended {
  /** The exit code; null if a signal ended the process. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last lines of its error stream. */
  readonly last: readonly string[];
}

export interface Options {
  readonly environment: NodeJS.ProcessEnv;
  readonly folder?: string;
  readonly show: (line: string) => void;
  /** Requests the process to stop. By default with SIGTERM. */
  readonly stop?: (child: ChildProcess) => void;
  /** Kills the process. By default with SIGKILL. */
  readonly kill?: (child: ChildProcess) => void;
}

/** The cancellation of the job. It stops the running process. */
export class Cancellation {
  private running: { child: ChildProcess; options: Options } | undefined;
  private readonly handler = (): void => this.cancel();
  private asked = false;

  constructor(private readonly grace = GRACE) {}

  get requested(): boolean {
    return this.asked;
  }

  /** Listen for the signals of the agent: SIGINT, and SIGTERM some seconds later. */
  listen(): void {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"] as const) {
      if (signal !== "SIGBREAK" || process.platform === "win32") process.on(signal, this.handler);
    }
  }

  cancel(): void {
    // The agent sends two signals. Only the first one counts.
    if (this.asked) return;
    this.asked = true;
    this.stop();
  }

  watch(child: ChildProcess, options: Options): void {
    this.running = { child, options };
    if (this.asked) this.stop();
  }

  unwatch(): void {
    this.running = undefined;
  }

  private stop(): void {
    if (!this.running) return;
    const { child, options } = this.running;
    const ask = (): void => {
      // Windows has no such signals, but its console has already notified the child.
      if (options.stop) options.stop(child);
      else if (process.platform !== "win32") child.kill("SIGTERM");
    };
    ask();
    // Repeat the request: a process that has just started in a container may miss the first one. A
    // second one is harmless.
    const again = setTimeout(ask, this.grace / 4);
    const timer = setTimeout(() => {
      if (options.kill) options.kill(child);
      child.kill("SIGKILL");
    }, this.grace);
    child.once("close", () => clearTimeout(again));
    child.once("close", () => clearTimeout(timer));
  }
}

/**
 * Run a program until it ends. Its output reaches the agent only through `show`. Rejects if it
 * cannot be started.
 */
export function run(program: string, args: readonly string[], options: Options, cancellation?: Cancellation): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: options.environment,
      cwd: options.folder,
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
      shell: false,
    });
    const last: string[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      const decoder = new StringDecoder("utf8");
      const lines = new Lines((line) => {
        if (stream === child.stderr && line.trim()) {
          last.push(line.trim());
          if (last.length > 5) last.shift();
        }
        options.show(line);
      });
      stream.on("data", (data: Buffer) => lines.add(decoder.write(data)));
      stream.on("end", () => {
        lines.add(decoder.end());
        lines.end();
      });
    }
    child.once("error", (error) => {
      cancellation?.unwatch();
      reject(error);
    });
    child.once("close", (code, signal) => {
      cancellation?.unwatch();
      resolve({ code, signal, last });
    });
    cancellation?.watch(child, options);
  });
}

/**
 * Returns the output of a program; undefined if it cannot be started, fails, or exceeds `timeout`
 * (milliseconds).
 */
export async function ask(program: string, args: readonly string[], environment: NodeJS.ProcessEnv, timeout = 20_000): Promise<string | undefined> {
  const lines: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  const options: Options = { environment, show: (line) => void lines.push(line) };
  const deadline = new Cancellation(0);
  try {
    timer = setTimeout(() => deadline.cancel(), timeout);
    const { code } = await run(program, args, options, deadline);
    return code === 0 ? lines.join("\n").trim() : undefined;
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
