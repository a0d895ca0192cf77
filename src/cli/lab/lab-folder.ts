import { mkdirSync, readdirSync, readlinkSync, rmdirSync, rmSync, symlinkSync } from "node:fs";
import { hasCode } from "../../base/errors.ts";
import { identityOf, isRunning, type ProcessIdentity } from "./processes.ts";

/**
 * Where each lab keeps its files, and where a later lab finds what a killed one left. A lab ID has the folder ID and the
 * link ID.owner, which points to no file but to the lab's process. A link, as it is made at once with all that it says,
 * leaves no moment at which the owner can't be told.
 */
const ROOT = "/run/tartan-lab";
const OWNER = /^(\d+)-(\d+)$/;

/** Of a lab: five hexadecimal digits. */
export function isLabId(text: string): boolean {
  return /^[0-9a-f]{5}$/.test(text);
}

/** The files of one lab. */
export function labPath(id: string, ...names: readonly string[]): string {
  return [ROOT, id, ...names].join("/");
}

function ownerLink(id: string): string {
  return `${labPath(id)}.owner`;
}

/**
 * Makes the folder of a new lab, with this process as the owner.
 * @returns the lab's id
 */
export function makeLabFolder(): string {
  const own = identityOf(process.pid);
  for (;;) {
    const id = crypto.getRandomValues(new Uint8Array(3)).toHex().slice(1);
    try {
      mkdirSync(ROOT, { recursive: true, mode: 0o700 });
      symlinkSync(`${own?.pid}-${own?.startTime}`, ownerLink(id));
      mkdirSync(labPath(id), { mode: 0o700 });
      return id;
    } catch (error) {
      // The id is taken, or another lab has just removed the empty root.
      if (hasCode(error, "EEXIST", "ENOENT")) continue;
      throw new Error(`can't make a folder for the lab in ${ROOT}`, { cause: error });
    }
  }
}

/** Removes a lab's folder, then its link, and the root with the last of them. */
export function removeLabFolder(id: string): void {
  rmSync(labPath(id), { recursive: true, force: true });
  rmSync(ownerLink(id), { force: true });
  try {
    rmdirSync(ROOT);
  } catch (error) {
    if (!hasCode(error, "ENOTEMPTY", "ENOENT")) throw error;
  }
}

/** The labs that have a folder or a link. */
export function labIds(): string[] {
  try {
    const names = readdirSync(ROOT).map((name) => name.replace(/\.owner$/, ""));
    return [...new Set(names.filter(isLabId))];
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

/** True if the process that made the lab has ended. */
export function isAbandoned(id: string): boolean {
  const owner = ownerOf(id);
  return owner === undefined || !isRunning(owner);
}

function ownerOf(id: string): ProcessIdentity | undefined {
  try {
    const [, pid, startTime] = OWNER.exec(readlinkSync(ownerLink(id))) ?? [];
    return pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime };
  } catch (error) {
    if (hasCode(error, "ENOENT", "EINVAL")) return undefined;
    throw error;
  }
}
