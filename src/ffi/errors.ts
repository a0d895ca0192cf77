import { constants } from "node:os";

const NAMES = new Map<number, string>(Object.entries(constants.errno).map(([name, code]) => [code, name]));

/** The symbol of an errno value (errno(3)), such as `EEXIST`. */
function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** A refusal by the kernel: what was to be done, to which object, and the errno. */
export class KernelError extends Error {
  override readonly name = "KernelError";
  readonly operation: string;
  readonly object: string;
  readonly errno: number;

  /** @param detail the kernel's own words (extended ACK), if it gave any */
  constructor(operation: string, object: string, errno: number, detail?: string) {
    super(`${operation} ${object}: ${errnoName(errno)}${detail ? ` (${detail})` : ""}`);
    this.operation = operation;
    this.object = object;
    this.errno = errno;
  }

  get errnoName(): string {
    return errnoName(this.errno);
  }
}
