import { existsSync } from "node:fs";

/** Our own command line: the compiled executable, or the runtime with the program's source. */
export function ownCommand(): string[] {
  if (!Bun.isStandaloneExecutable) return [process.execPath, Bun.main];
  // A newer build may have taken the file's place; then this process still holds the one that it runs.
  return [existsSync(process.execPath) ? process.execPath : `/proc/${process.pid}/exe`];
}
