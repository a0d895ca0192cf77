export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** for its standard input */
  readonly input?: string;
  /** kills it */
  readonly signal?: AbortSignal;
}

/** Runs a program to its end. @throws Error if it can't be started */
export type RunCommand = (command: readonly string[], options?: CommandOptions) => Promise<CommandResult>;

/** No command of ours takes that long: the longest waits 5 s for a lock. */
const TIMEOUT_MS = 30_000;

/** As a child of this process, with messages in English, which are understood here. */
export const runCommand: RunCommand = async (command, { input = "", signal } = {}) => {
  const child = Bun.spawn([...command], {
    stdin: new TextEncoder().encode(input),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, LC_ALL: "C" },
    timeout: TIMEOUT_MS,
    ...(signal === undefined ? {} : { signal }),
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
};

/** A program that ended with another exit code than 0: its own words, and what can be done. */
export function commandError(command: readonly string[], { code, stdout, stderr }: CommandResult): Error {
  const said = (stderr.trim() || stdout.trim()).replace(/\s*\n\s*/g, "; ");
  const locked = /holding the xtables lock/.test(stderr);
  const advice = locked ? "; find the program that holds the lock by: fuser -v /run/xtables.lock" : "";
  return new Error(`${command.join(" ")}: ${said || `exit code ${code}`}${advice}`);
}
