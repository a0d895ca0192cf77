import { closeSync, openSync, readFileSync } from "node:fs";
import { sleep } from "../../base/backoff.ts";
import { describeError } from "../../base/errors.ts";
import { ENVIRONMENT, quote } from "./command.ts";

const POLL_MS = 50;
const LOG_LINES = 5;

/** What to start, and where its output goes. */
export interface ChildPlan {
  /** for messages: "the agent of n1" */
  readonly name: string;
  readonly command: readonly string[];
  /** what its environment has beside ENVIRONMENT */
  readonly variables?: Readonly<Record<string, string>>;
  readonly logFile: string;
}

/** A process that runs as long as the lab does, unless it fails: an agent, or a server. */
export interface Child extends ChildPlan {
  /** Resolves to how it ended, such as `with exit code 1`, once it has. */
  readonly ended: Promise<string>;
}

/** those that run */
const children = new Set<Bun.Subprocess>();

/** Starts a process in a session of its own: Ctrl-C in the terminal reaches the lab alone. */
export function startChild(plan: ChildPlan): Child {
  const log = openSync(plan.logFile, "a");
  try {
    const env = { ...ENVIRONMENT, ...plan.variables };
    const child = Bun.spawn([...plan.command], { env, stdio: ["ignore", log, log], detached: true });
    children.add(child);
    const ended = child.exited.then((code) => {
      children.delete(child);
      return child.signalCode ? `by ${child.signalCode}` : `with exit code ${code}`;
    });
    return { ...plan, ended };
  } finally {
    closeSync(log);
  }
}

/** Kills whatever of them still runs. @returns when they have ended */
export async function killChildren(): Promise<void> {
  const left = [...children];
  for (const child of left) child.kill("SIGKILL");
  await Promise.all(left.map(({ exited }) => exited));
}

/** A shell's command line that starts a child again as it was started. */
export function restartLine({ command, variables = {} }: ChildPlan): string {
  const assignments = Object.entries(variables).map(([name, value]) => `${name}=${quote(value)}`);
  return [...assignments, ...command.map(quote)].join(" ");
}

/** One look at a child: what it was to become, or what it still lacks for that. */
type Look<T> = { readonly value: T } | { readonly lacks: string };

/**
 * Looks at a child again and again until it is as it should be; an exception counts as "not yet".
 * @param goal for the message: "ready"
 * @throws ChildError when it ends before that, or takes longer than `patienceMs`
 */
export async function childBecomes<T>(
  goal: string,
  child: Child,
  patienceMs: number,
  signal: AbortSignal,
  look: () => Promise<Look<T>>,
): Promise<T> {
  let ended: string | undefined;
  void child.ended.then((how) => {
    ended = how;
  });
  let lacks = "it does not answer";
  for (const deadline = performance.now() + patienceMs; ended === undefined && performance.now() < deadline; ) {
    try {
      const found = await look();
      if ("value" in found) return found.value;
      lacks = found.lacks;
    } catch (error) {
      // It listens some time after its start.
      lacks = describeError(error);
    }
    signal.throwIfAborted();
    await sleep(POLL_MS, signal);
    signal.throwIfAborted();
  }
  const why = ended === undefined ? `is not ${goal} after ${patienceMs / 1000} s: ${lacks}` : `ended ${ended}`;
  throw new ChildError(`${child.name} ${why}`, lastLines(child.logFile));
}

/** A process that does not do its work, with the end of its log. */
export class ChildError extends Error {
  override readonly name = "ChildError";
  readonly log: readonly string[];

  constructor(message: string, log: readonly string[]) {
    super(message);
    this.log = log;
  }
}

function lastLines(file: string): string[] {
  return readFileSync(file, "utf8").split("\n").filter(Boolean).slice(-LOG_LINES);
}
