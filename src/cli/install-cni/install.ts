import { randomUUID } from "node:crypto";
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { sleep } from "../../base/backoff.ts";
import { hasCode } from "../../base/errors.ts";
import { sameContent } from "../../base/same-content.ts";
import { isTemporaryName } from "../../base/write-file.ts";
import { tryLock } from "../../ffi/file-lock.ts";

/** Milliseconds: how long another run may take, and how often it is looked at. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 100;

const MODE = 0o755;
const CHUNK = 1 << 20;

export interface Installation {
  /** the executable */
  readonly source: string;
  /** of the container runtime's plugins */
  readonly folder: string;
  /** of the plugin in it */
  readonly name: string;
  /** @throws Error with the reason why the file at `path` can't be the plugin */
  check(path: string): void;
}

/**
 * Copies the executable into the folder. At each moment there is the plugin of before or the new one under its name,
 * whole: it is written beside that, checked there, and renamed. One that runs keeps its file.
 * @returns false if it was there already, and is all right
 * @throws Error with its cause and the next step; then everything is as it was
 */
export async function install(installation: Installation): Promise<boolean> {
  const { folder, name, source, check } = installation;
  const path = join(folder, name);
  let directory: number | undefined;
  try {
    directory = openSync(folder, "r");
    await lock(directory, folder);
    removeLeftovers(folder, name);
    if (isSame(source, path)) {
      check(path);
      return false;
    }
    const temporary = join(folder, `.${name}.${randomUUID()}`);
    try {
      copy(source, temporary);
      check(temporary);
      renameSync(temporary, path);
      fsyncSync(directory);
    } finally {
      rmSync(temporary, { force: true });
    }
    return true;
  } catch (cause) {
    const advice = adviceFor(cause, installation);
    throw new Error(`the CNI plugin is not installed as ${path}${advice ? `: ${advice}` : ""}`, { cause });
  } finally {
    if (directory !== undefined) closeSync(directory);
  }
}

/** One run at a time. The lock ends with its process: a temporary file that is there now is nobody's. */
async function lock(directory: number, folder: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!tryLock(directory, folder)) {
    if (performance.now() >= deadline) throw new Error(`another install-cni is at work in ${folder}`);
    await sleep(LOOK_MS);
  }
}

function removeLeftovers(folder: string, name: string): void {
  const left = readdirSync(folder).filter((one) => isTemporaryName(one) && one.startsWith(`.${name}.`));
  for (const one of left) rmSync(join(folder, one));
}

/** Whether the plugin is there as we would make it: a file, not a link that may lead nowhere on the host. */
function isSame(source: string, path: string): boolean {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (!there?.isFile() || (there.mode & 0o777) !== MODE) return false;
  return sameContent(source, path);
}

/** It is on the disk as a whole when this returns. */
function copy(source: string, path: string): void {
  const from = openSync(source, "r");
  try {
    const to = openSync(path, "wx");
    try {
      const chunk = Buffer.alloc(CHUNK);
      for (let length = readSync(from, chunk); length > 0; length = readSync(from, chunk)) {
        for (let at = 0; at < length; ) at += writeSync(to, chunk, at, length - at);
      }
      fchmodSync(to, MODE);
      fsyncSync(to);
    } finally {
      closeSync(to);
    }
  } finally {
    closeSync(from);
  }
}

function adviceFor(error: unknown, { folder }: Installation): string | undefined {
  if (hasCode(error, "ENOENT", "ENOTDIR"))
    return `${folder} is not there, or is no folder; make it, or tell by --cni-bin-dir where the runtime's plugins are`;
  if (hasCode(error, "EROFS")) return `${folder} is read-only; mount it so that it can be written to`;
  if (hasCode(error, "EACCES", "EPERM"))
    return `${folder} may not be written to; it takes root, in a container DAC_OVERRIDE if the folder is another user's`;
  if (hasCode(error, "ENOSPC", "EDQUOT")) return `make room in the file system of ${folder}`;
  if (hasCode(error, "EISDIR")) return "a folder has that name; remove it";
  return undefined;
}
