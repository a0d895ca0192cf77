// Child processes of the build: their output goes into the log, their failure becomes an error of one line.
import { appendFileSync, closeSync, openSync, statSync } from "node:fs";
import { constants } from "node:os";

/** What stops the build, as one line for the user. */
export class BuildError extends Error {
  override name = "BuildError";
  /** what the user can do about it, if that is another thing than to look into the log and try again */
  readonly next: string | undefined;

  constructor(message: string, options: { readonly next?: string; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.next = options.next;
  }
}

/** Ctrl-C or SIGTERM. */
export class InterruptedError extends Error {
  override name = "InterruptedError";
  readonly exitCode: number;

  constructor(signal: "SIGINT" | "SIGTERM") {
    super(`interrupted by ${signal}`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

export interface CommandOptions {
  readonly cwd?: string;
  /** instead of this process's own */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface Outcome {
  /** undefined if a signal ended it */
  readonly code: number | undefined;
  /** stdout and stderr, as they came */
  readonly output: string;
}

let interruptedBy: "SIGINT" | "SIGTERM" | undefined;
let running: Bun.Subprocess | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    interruptedBy = signal;
    // On SIGINT go ends the compilers that it started; on SIGTERM it leaves them alone.
    running?.kill("SIGINT");
  });
}

/** @throws InterruptedError if a signal asked this process to end */
export function stopIfInterrupted(): void {
  if (interruptedBy !== undefined) throw new InterruptedError(interruptedBy);
}

/** Runs a command whose output is ours. @returns its exit code @throws InterruptedError */
export async function runVisibly(command: readonly string[], cwd: string): Promise<number | undefined> {
  stopIfInterrupted();
  running = Bun.spawn([...command], { cwd, stdin: "ignore", stdout: "inherit", stderr: "inherit" });
  await running.exited;
  const code = running.exitCode ?? undefined;
  running = undefined;
  stopIfInterrupted();
  return code;
}

/** Runs commands without input, whose output goes into a log. */
export class Commands {
  readonly #log: string;

  /** @param log path of a file to append to */
  constructor(log: string) {
    this.#log = log;
  }

  /** @throws BuildError if it can't be started, InterruptedError */
  async attempt(command: readonly [string, ...string[]], { cwd, env }: CommandOptions = {}): Promise<Outcome> {
    stopIfInterrupted();
    appendFileSync(this.#log, `\n$ ${command.join(" ")}\n`);
    const start = statSync(this.#log).size;
    const log = openSync(this.#log, "a");
    try {
      running = Bun.spawn([...command], {
        ...(cwd === undefined ? {} : { cwd }),
        ...(env === undefined ? {} : { env: { ...env } }),
        ...{ stdin: "ignore", stdout: log, stderr: log },
      });
      await running.exited;
    } catch (cause) {
      throw new BuildError(`${command[0]} does not run: ${cause instanceof Error ? cause.message : cause}`, { cause });
    } finally {
      closeSync(log);
    }
    const code = running.exitCode ?? undefined;
    running = undefined;
    stopIfInterrupted();
    return { code, output: await Bun.file(this.#log).slice(start).text() };
  }

  /** @returns what it printed @throws BuildError if it fails, InterruptedError */
  async run(command: readonly [string, ...string[]], options?: CommandOptions): Promise<string> {
    const { code, output } = await this.attempt(command, options);
    if (code === 0) return output;
    const ending = code === undefined ? "a signal ended it" : `exit code ${code}`;
    throw new BuildError(`${command[0]?.replace(/.*\//, "")}: ${reasonOf(output) ?? ending}`);
  }
}

// The most telling first.
const REASONS = [
  /^(?:E|W|Err): .*(?:Failed to fetch|Temporary failure|Could not|Unable to connect|GPG error|not signed)/,
  /^E: /,
  /No space left on device|signal: killed|cannot allocate memory/,
  /^\S+\.(?:go|s):\d+/,
  /^\S+: (?:error|fatal|cannot|can't) /i,
];

/** The line of a failed command's output that most probably says why. */
export function reasonOf(output: string): string | undefined {
  const lines = output.split("\n").filter((line) => line.trim() !== "");
  const found = REASONS.map((pattern) => lines.find((line) => pattern.test(line))).find((line) => line !== undefined);
  return (found ?? lines.at(-1))?.trim().slice(0, 300);
}
