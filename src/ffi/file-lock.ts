import { constants } from "node:os";
import { KernelError } from "./errors.ts";
import { errno, libc } from "./libc.ts";

/** sys/file.h */
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Takes an exclusive lock on an open file or folder (flock(2)). It ends when the descriptor is closed, however the process
 * ends, and holds against processes in other containers as well.
 * @returns false while somebody else has it
 */
export function tryLock(fd: number, object: string): boolean {
  if (libc().flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const why = errno();
  if (why === constants.errno.EWOULDBLOCK || why === constants.errno.EINTR) return false;
  throw new KernelError("lock", object, why);
}
