import { type ChildProcess, spawn } from "node:child_process";
import { sleep } from "../story.ts";

/** What a command line did. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** A command that is given lines of a script: etcdctl, or t4 itself. */
export interface Program {
  readonly path: string;
  readonly env: Readonly<Record<string, string>>;
  /** Where it runs; here, where that is left out. */
  readonly directory?: string;
}

const RUN_TIMEOUT_MS = 20_000;

/** Runs one command line to its end. */
export async function run(program: Program, args: readonly string[], stdin: string | Buffer = ""): Promise<Outcome> {
  const running = start(program, args);
  running.child.stdin!.end(stdin);
  return running.ended(RUN_TIMEOUT_MS);
}

export interface Running {
  readonly child: ChildProcess;
  /** Resolves when it has written that many lines. */
  hasWritten(lines: number): Promise<void>;
  ended(timeoutMs: number): Promise<Outcome>;
}

export function start(program: Program, args: readonly string[]): Running {
  const child = spawn(program.path, args, {
    stdio: "pipe",
    env: { ...process.env, ...program.env },
    cwd: program.directory,
  });
  const stdout: Buffer[] = [];
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  // One that ends before it has read its input is not a failure of ours.
  child.stdin.on("error", () => {});
  const outcome = new Promise<Outcome>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout: Buffer.concat(stdout), stderr }));
  });
  const written = () => Buffer.concat(stdout).toString("latin1").split("\n").length - 1;
  return {
    child,
    async hasWritten(lines) {
      const deadline = AbortSignal.timeout(RUN_TIMEOUT_MS);
      while (written() < lines) {
        if (deadline.aborted || child.exitCode !== null) {
          child.kill("SIGKILL");
          throw new Error(
            `${args.join(" ")}: wrote ${written()} lines, not ${lines}: ${Buffer.concat(stdout)}${stderr}`,
          );
        }
        await sleep(10);
      }
    },
    async ended(timeoutMs) {
      let late = false;
      const timer = setTimeout(() => (late = child.kill("SIGKILL")), timeoutMs);
      try {
        const ended = await outcome;
        if (late) throw new Error(`${args.join(" ")}: did not end within ${timeoutMs} ms`);
        return ended;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** Words of a line of a script; what is in single quotes is one word, as it stands. */
export function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|\S+/g)].map(([word, quoted]) => quoted ?? word);
}
