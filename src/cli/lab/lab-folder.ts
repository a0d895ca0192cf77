import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import * as v from "valibot";
import { hasCode } from "./error-code.ts";
import { identityOf, isRunning } from "./processes.ts";

/** One folder a lab, so that a later lab finds what a killed one left. */
const ROOT = "/run/tartan-lab";
const OWNER_FILE = "owner.json";
/** A folder without an owner that is younger than this many milliseconds belongs to a lab that is just starting. */
const NEWBORN_MS = 60_000;

const OwnerSchema = v.object({ pid: v.pipe(v.number(), v.integer(), v.minValue(1)), startTime: v.string() });

export function isLabId(text: string): boolean {
  return /^[0-9a-f]{5}$/.test(text);
}

/** The files of one lab. */
export function labPath(id: string, ...names: readonly string[]): string {
  return [ROOT, id, ...names].join("/");
}

/**
 * Makes the folder of a new lab, with this process as the owner.
 * @returns the lab's id, five hexadecimal digits
 */
export function makeLabFolder(): string {
  for (;;) {
    const id = crypto.getRandomValues(new Uint8Array(3)).toHex().slice(1);
    try {
      mkdirSync(ROOT, { recursive: true, mode: 0o700 });
      mkdirSync(labPath(id), { mode: 0o700 });
    } catch (error) {
      // The id is taken, or another lab has just removed the empty root.
      if (hasCode(error, "EEXIST", "ENOENT")) continue;
      throw new Error(`can't make a folder for the lab in ${ROOT}`, { cause: error });
    }
    writeFileSync(labPath(id, OWNER_FILE), `${JSON.stringify(identityOf(process.pid))}\n`);
    return id;
  }
}

/** Removes a lab's folder, and the root with the last of them. */
export function removeLabFolder(id: string): void {
  rmSync(labPath(id), { recursive: true, force: true });
  try {
    rmdirSync(ROOT);
  } catch (error) {
    if (!hasCode(error, "ENOTEMPTY", "ENOENT")) throw error;
  }
}

/** The labs that have a folder. */
export function labIds(): string[] {
  try {
    return readdirSync(ROOT).filter(isLabId);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

/** True if the process that made the lab has ended. */
export function isAbandoned(id: string): boolean {
  const owner = readOwner(id);
  if (owner !== undefined) return !isRunning(owner);
  const made = statSync(labPath(id), { throwIfNoEntry: false })?.mtimeMs;
  return made !== undefined && Date.now() - made > NEWBORN_MS;
}

function readOwner(id: string): v.InferOutput<typeof OwnerSchema> | undefined {
  try {
    return v.parse(OwnerSchema, JSON.parse(readFileSync(labPath(id, OWNER_FILE), "utf8")));
  } catch {
    // Not written yet, or its lab was killed while it wrote.
    return undefined;
  }
}
