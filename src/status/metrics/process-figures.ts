import { readdirSync, readFileSync } from "node:fs";

/** What this process uses. A figure that /proc does not tell is undefined. */
export interface ProcessFigures {
  readonly cpuSeconds: number;
  /** seconds since the epoch */
  readonly startedAt: number;
  readonly residentBytes: number | undefined;
  readonly virtualBytes: number | undefined;
  readonly openFiles: number | undefined;
  readonly maxFiles: number | undefined;
}

/** prom-client's own collectors give values that are none on Bun (`Nan`), and go on measuring between scrapes. */
export function processFigures(): ProcessFigures {
  const { user, system } = process.cpuUsage();
  const status = read("status");
  const kilobytes = (name: string) => {
    const value = numberIn(status, new RegExp(`^${name}:\\s*(\\d+) kB$`, "m"));
    return value === undefined ? undefined : value * 1024;
  };
  return {
    cpuSeconds: (user + system) / 1e6,
    startedAt: performance.timeOrigin / 1000,
    residentBytes: kilobytes("VmRSS"),
    virtualBytes: kilobytes("VmSize"),
    openFiles: openFiles(),
    maxFiles: numberIn(read("limits"), /^Max open files\s+(\d+)/m),
  };
}

function numberIn(text: string, pattern: RegExp): number | undefined {
  const found = pattern.exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

function read(name: string): string {
  try {
    return readFileSync(`/proc/self/${name}`, "utf8");
  } catch {
    return "";
  }
}

function openFiles(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}
