import { dirname } from "node:path";
import * as v from "valibot";

/** The store can't be used as it is; the message names it, says why and what to do. */
export class LeaseStoreError extends Error {
  override readonly name = "LeaseStoreError";
  /** somebody else holds the lock: it passes by itself as a rule */
  readonly busy: boolean;

  constructor(message: string, options: { readonly cause?: unknown; readonly busy?: boolean } = {}) {
    super(message, { cause: options.cause });
    this.busy = options.busy ?? false;
  }
}

/** What Node's and SQLite's errors carry. */
const codeSchema = v.object({ code: v.string() });

export function codeOf(error: unknown): string {
  return v.is(codeSchema, error) ? error.code : "";
}

/** By the beginning of the error's code, the first that fits. `{directory}` stands for the store's. */
const ADVICE: readonly (readonly [code: string, advice: string])[] = [
  ["SQLITE_NOTADB", "it is not a SQLite database; move it away or name another file with --lease-store"],
  ["SQLITE_CORRUPT", "it is damaged; move it away, and a new one is made, or put a good copy in its place"],
  ["SQLITE_BUSY", "another process holds a transaction on it; end that one"],
  ["SQLITE_LOCKED", "another process holds a transaction on it; end that one"],
  ["SQLITE_FULL", "no space is left; free some in {directory}"],
  ["ENOSPC", "no space is left; free some in {directory}"],
  ["SQLITE_READONLY", "it can't be written; check the permissions and the mount of {directory}"],
  ["EROFS", "{directory} is on a read-only file system; name another file with --lease-store"],
  ["EACCES", "permission is denied; check the permissions of {directory}"],
  ["EPERM", "permission is denied; check the permissions of {directory}"],
  ["EEXIST", "{directory} is not a directory; name another file with --lease-store"],
  ["ENOTDIR", "{directory} is not a directory; name another file with --lease-store"],
  ["SQLITE_CANTOPEN", "it can't be opened, or no file made beside it; check {directory}"],
  ["SQLITE_IOERR", "reading or writing failed; check the disk of {directory}"],
];

/** Puts the store's path and the next step around an error of SQLite or of the file system. */
export function explain(path: string, cause: unknown): LeaseStoreError {
  if (cause instanceof LeaseStoreError) return cause;
  const code = codeOf(cause);
  const advice =
    ADVICE.find(([start]) => code.startsWith(start))?.[1] ?? "check the file, or name another with --lease-store";
  const text = cause instanceof Error ? cause.message : String(cause);
  return new LeaseStoreError(`lease store ${path}: ${advice.replaceAll("{directory}", dirname(path))} (${text})`, {
    cause,
    busy: code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED"),
  });
}
