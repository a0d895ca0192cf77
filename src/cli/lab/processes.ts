import { readdirSync, readFileSync } from "node:fs";
import { sleep } from "../../base/backoff.ts";
import { hasCode } from "../../base/errors.ts";

const POLL_MS = 20;

/** A process, told from a later one with the same id by when it started. */
export interface ProcessIdentity {
  readonly pid: number;
  /** clock ticks after boot (proc_pid_stat(5), field 22) */
  readonly startTime: string;
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    // It has ended: the file, or the process while it was read, is gone.
    return "";
  }
}

/**
 * Reads /proc/PID/stat. The command, field 2, is in parentheses and may itself hold spaces and parentheses.
 * @returns the start time, field 22; undefined for a process that has ended but whose parent has not noticed yet
 */
export function startTimeOf(stat: string): string | undefined {
  const [state, ...rest] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .trim()
    .split(" ");
  return state === "Z" || state === "X" ? undefined : rest[18];
}

export function identityOf(pid: number): ProcessIdentity | undefined {
  const startTime = startTimeOf(read(pid, "stat"));
  return startTime === undefined ? undefined : { pid, startTime };
}

export function isRunning({ pid, startTime }: ProcessIdentity): boolean {
  return identityOf(pid)?.startTime === startTime;
}

/** The processes one of whose arguments begins with one of the marks. */
export function processesWithArgument(marks: readonly string[]): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => hasArgument(pid, marks));
}

function hasArgument(pid: number, marks: readonly string[]): boolean {
  return read(pid, "cmdline")
    .split("\0")
    .some((argument) => marks.some((mark) => argument.startsWith(mark)));
}

/** Sends a signal to the processes among `pids` that are still the ones that were found. */
export function signalAll(pids: readonly number[], marks: readonly string[], signal: "SIGTERM" | "SIGKILL"): void {
  for (const pid of pids) {
    if (!hasArgument(pid, marks)) continue;
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (!hasCode(error, "ESRCH")) throw error;
    }
  }
}

/** Ends the processes one of whose arguments begins with one of the marks: each signal has `graceMs` to do it. */
export async function endProcesses(
  marks: readonly string[],
  signals: readonly ("SIGTERM" | "SIGKILL")[],
  graceMs: number,
): Promise<void> {
  const pids = processesWithArgument(marks);
  for (const signal of signals) {
    signalAll(pids, marks, signal);
    if (await haveEnded(pids, marks, graceMs)) return;
  }
}

async function haveEnded(pids: readonly number[], marks: readonly string[], patienceMs: number): Promise<boolean> {
  const deadline = performance.now() + patienceMs;
  while (pids.some((pid) => hasArgument(pid, marks))) {
    if (performance.now() > deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}
