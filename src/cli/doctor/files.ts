import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { hasCode } from "../../base/errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** A file's text; undefined where there is none. @throws Error if it can't be read */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

/** The names in a folder, sorted; undefined where there is none. @throws Error if it can't be read */
export function namesIn(folder: string): string[] | undefined {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

/**
 * The files of several folders as systemd and its like read them: by name, and of two with one name that of the folder
 * that comes first.
 * @returns paths in the order of their names
 */
export function dropIns(folders: readonly string[], suffix: string): string[] {
  const byName = new Map<string, string>();
  for (const folder of folders) {
    for (const name of namesIn(folder) ?? []) {
      if (name.endsWith(suffix) && !byName.has(name)) byName.set(name, join(folder, name));
    }
  }
  return [...byName.values()].sort((a, b) => (basename(a) < basename(b) ? -1 : 1));
}

/** Whether this process sees another root than the host's. */
export function inContainer(environment: Environment): boolean {
  if (environment["KUBERNETES_SERVICE_HOST"] || existsSync("/.dockerenv") || existsSync("/run/.containerenv"))
    return true;
  const mounts = readIfThere("/proc/self/mountinfo") ?? "";
  return /^\S+ \S+ \S+ \S+ \/ .* - overlay /m.test(mounts);
}
