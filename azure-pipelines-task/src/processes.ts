/** Processes: what they print goes through our hands, and a cancelled job ends them. */

import { ChildProcess, spawn } from "child_process";
import { StringDecoder } from "string_decoder";
import { Lines } from "./text";

/** Milliseconds between asking a process to stop and ending it. The agent itself gives the task ten seconds. */
export const GRACE = 8000;

export interface Ended {
  /** The exit code; null where a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last lines that it printed to its error stream. */
  readonly last: readonly string[];
}

export interface Options {
  readonly environment: NodeJS.ProcessEnv;
  readonly folder?: string;
  readonly show: (line: string) => void;
  /** Asks it to stop. By default a SIGTERM. */
  readonly stop?: (child: ChildProcess) => void;
  /** Ends it. By default a SIGKILL. */
  readonly kill?: (child: ChildProcess) => void;
}

/** Whether somebody has cancelled the job, and what is to be stopped then. */
export class Cancellation {
  private running: { child: ChildProcess; options: Options } | undefined;
  private readonly handler = (): void => this.cancel();
  private asked = false;

  constructor(private readonly grace = GRACE) {}

  get requested(): boolean {
    return this.asked;
  }

  /** Listen for what the agent sends: SIGINT, and SIGTERM after a while. */
  listen(): void {
    for (const signal of ["SIGINT", "SIGTERM", "SIGBREAK"] as const) {
      if (signal !== "SIGBREAK" || process.platform === "win32") process.on(signal, this.handler);
    }
  }

  cancel(): void {
    // The agent sends two signals; the first one counts.
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
      // On Windows there is no asking by a signal, but the console has told the child already.
      if (options.stop) options.stop(child);
      else if (process.platform !== "win32") child.kill("SIGTERM");
    };
    ask();
    // Once more: what has only just started in a container does not hear the first one. It does no harm to who has heard.
    const again = setTimeout(ask, this.grace / 4);
    const timer = setTimeout(() => {
      if (options.kill) options.kill(child);
      child.kill("SIGKILL");
    }, this.grace);
    child.once("close", () => clearTimeout(again));
    child.once("close", () => clearTimeout(timer));
  }
}

/** Run a program to its end. Nothing that it prints reaches the agent but through `show`. Rejects where it cannot be started. */
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

/** What a program says in one go; undefined where it cannot be started, fails, or takes longer than so many milliseconds. */
export async function ask(program: string, args: readonly string[], environment: NodeJS.ProcessEnv, timeout = 20_000): Promise<string | undefined> {
  const said: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  const options: Options = { environment, show: (line) => void said.push(line) };
  const patience = new Cancellation(0);
  try {
    timer = setTimeout(() => patience.cancel(), timeout);
    const { code } = await run(program, args, options, patience);
    return code === 0 ? said.join("\n").trim() : undefined;
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
