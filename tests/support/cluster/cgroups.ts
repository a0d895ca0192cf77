import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const TOP = "/sys/fs/cgroup";
/** A cgroup that has no processors and memory of its own takes no process. */
const INHERITED = ["cpuset.cpus", "cpuset.mems"];
const NAME = /^tt-(\d+)-\d+$/;
/** milliseconds */
const INTERVAL = 20;
const PATIENCE = 10_000;

/** The mounted hierarchies: with version 2 the only one, with version 1 one for each controller. */
function hierarchies(): string[] {
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, path = "", type = ""]) => /^cgroup2?$/.test(type) && path.startsWith(TOP))
    .map(([, path = ""]) => path);
}

/** Why this process can't make cgroups, if so. */
export function cgroupsMissing(): string | undefined {
  const tops = hierarchies();
  if (tops.length === 0) return `cgroups, which are not mounted under ${TOP}`;
  const probe = `tt-${process.pid}-0`;
  try {
    new Cgroups(probe).remove();
  } catch (error) {
    return `cgroups that can be made: ${error instanceof Error ? error.message : error}`;
  }
  return undefined;
}

/** A cgroup of that name in every hierarchy, directly under its root. */
export class Cgroups {
  readonly #name: string;

  /** @param name as namespaces have it, with the process id of who made it */
  constructor(name: string) {
    this.#name = name;
    for (const top of hierarchies()) {
      const path = join(top, name);
      mkdirSync(path, { recursive: true });
      for (const setting of INHERITED) {
        if (!existsSync(join(top, setting)) || !existsSync(join(path, setting))) continue;
        writeFileSync(join(path, setting), readFileSync(join(top, setting)));
      }
    }
  }

  /** Kills what runs in them, and removes them. @throws Error if something does not go */
  remove(): void {
    removeAll(this.#name);
  }
}

/** Removes what runs left behind that were killed, with the containers in it. */
export function removeCgroupsOfDeadRuns(): void {
  for (const top of hierarchies()) {
    for (const name of readdirSync(top)) {
      const pid = NAME.exec(name)?.[1];
      if (pid !== undefined && !existsSync(`/proc/${pid}`)) removeAll(name);
    }
  }
}

function removeAll(name: string): void {
  const deadline = performance.now() + PATIENCE;
  for (;;) {
    const tops = hierarchies()
      .map((top) => join(top, name))
      .filter((path) => existsSync(path));
    if (tops.length === 0) return;
    const pids = new Set(tops.flatMap(processesIn));
    for (const pid of pids) kill(pid);
    if (pids.size === 0 && tops.every(tryToRemove)) return;
    if (performance.now() > deadline) throw new Error(`the cgroup ${name} does not go: ${[...pids].join(", ")} in it`);
    Bun.sleepSync(INTERVAL);
  }
}

const below = (path: string) =>
  readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [join(path, entry.name)] : []));

function processesIn(path: string): number[] {
  const own = readFileSync(join(path, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
  return [...own, ...below(path).flatMap(processesIn)];
}

/** @returns false while the kernel still holds something of it */
function tryToRemove(path: string): boolean {
  try {
    for (const inner of below(path)) if (!tryToRemove(inner)) return false;
    rmdirSync(path);
    return true;
  } catch {
    return !existsSync(path);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself meanwhile.
  }
}
