import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new, empty folder, removed with all that is in it: `using folder = new TemporaryFolder()`. */
export class TemporaryFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "tartan-test-"));

  /** The path of a file or folder in it. */
  at(...names: string[]): string {
    return join(this.path, ...names);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A folder that is removed after the tests around the call: call it in a test file or a `describe`. */
export function useTemporaryFolder(): TemporaryFolder {
  const folder = new TemporaryFolder();
  afterAll(() => folder[Symbol.dispose]());
  return folder;
}
