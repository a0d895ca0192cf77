import { closeSync, fchmodSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

export interface WriteOptions {
  /** of the file, whatever the umask */
  readonly mode: number;
  /** of the directories that are made */
  readonly directoryMode: number;
  /** wait until the content is on the disk, so that it outlives a power failure */
  readonly sync?: boolean;
}

/** What a writer that was killed may leave in the directory: a dot, the file's name, a UUID. */
const TEMPORARY = /^\..+\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function isTemporaryName(name: string): boolean {
  return TEMPORARY.test(name);
}

/** Writes a file so that a reader sees the old or the new one, never a part. @throws Error with its cause */
export function writeWholeFile(path: string, text: string, { mode, directoryMode, sync }: WriteOptions): void {
  const temporary = join(dirname(path), `.${basename(path)}.${crypto.randomUUID()}`);
  let fd: number | undefined;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: directoryMode });
    fd = openSync(temporary, "wx", mode);
    fchmodSync(fd, mode);
    writeFileSync(fd, text);
    if (sync) fsyncSync(fd);
    renameSync(temporary, path);
  } catch (cause) {
    if (fd !== undefined) rmSync(temporary, { force: true });
    throw new Error(`write ${path}`, { cause });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
