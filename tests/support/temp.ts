import { afterAll } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./wait.ts";

/** A new, empty folder, removed with all that is in it: `using folder = new TemporaryFolder()`. */
export class TemporaryFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "tartan-test-"));

  /** The path of a file or folder in it. */
  at(...names: string[]): string {
    return join(this.path, ...names);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/**
 * A folder that is removed after the tests around the call: call it in a test file or a `describe`. What was started with a
 * file of it ends before: hooks run in the order of their calls, and an agent would write its files anew.
 */
export function useTemporaryFolder(): TemporaryFolder {
  const folder = new TemporaryFolder();
  afterAll(async () => {
    const pids = processesWith(folder.path);
    for (const pid of pids) kill(pid);
    const haveEnded = () => pids.every((pid) => !isAlive(pid));
    await eventually(haveEnded, { within: 10_000, what: `nothing uses ${folder.path} any more` });
    folder[Symbol.dispose]();
  });
  return folder;
}

/** Other processes with this text in an argument. */
function processesWith(text: string): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => pid !== process.pid && read(`/proc/${pid}/cmdline`).includes(text));
}

/** False also for a process that has ended and was not waited for. */
export function isAlive(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  return !/\) [ZX] |^$/.test(read(`/proc/${pid}/stat`));
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // It ended by itself meanwhile.
    return "";
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself meanwhile.
  }
}
