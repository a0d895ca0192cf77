import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export interface RunningAgent {
  readonly pid: number;
  readonly name: string;
}

const AGENTS = /^(tartan|flanneld)$/;

/** Agents in this network namespace, ours left out: they would make all of it again. */
export function runningAgents(): RunningAgent[] {
  const here = readlinkSync("/proc/self/ns/net");
  return readdirSync("/proc").flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) return [];
    try {
      const name = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
      if (!AGENTS.test(name) || readlinkSync(`/proc/${pid}/ns/net`) !== here) return [];
      return isAgent(readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")) ? [{ pid, name }] : [];
    } catch {
      // It ended meanwhile, or is somebody else's.
      return [];
    }
  });
}

/** The other commands of the executable make nothing on the node. */
function isAgent([, first = ""]: readonly string[]): boolean {
  return first === "" || first.startsWith("-");
}
