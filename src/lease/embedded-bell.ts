import { type FSWatcher, lstatSync, watch } from "node:fs";
import { basename, dirname } from "node:path";

/**
 * Wakes a waiter when the store may have changed: at once on a change of the file or one that SQLite keeps beside it, and
 * on `ring`. Where the directory can't be watched (no inotify watch left), or the file is a link, only the waiter's own
 * deadline is left.
 */
export class ChangeBell {
  #rung = false;
  #wake: (() => void) | undefined;
  #watcher: FSWatcher | undefined;

  /** Watches the store's directory, from now on the one that is there now. */
  listen(path: string): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    const name = basename(path);
    try {
      // SQLite works on what a link leads to, in a directory that is not watched.
      if (lstatSync(path).isSymbolicLink()) return;
      this.#watcher = watch(dirname(path), { persistent: false }, (_event, file) => {
        if (file === null || file.startsWith(name)) this.ring();
      });
      // The directory may vanish: the waiter finds out by itself.
      this.#watcher.on("error", () => {
        this.close();
        this.ring();
      });
    } catch {
      this.#watcher = undefined;
    }
  }

  /** Whether changes of the files ring. */
  get listening(): boolean {
    return this.#watcher !== undefined;
  }

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Resolves when the bell rings or has rung since the last wait, after `ms`, or when the signal aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#rung && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const wake = () => resolve();
      const timer = setTimeout(wake, ms);
      signal.addEventListener("abort", wake);
      this.#wake = wake;
      await promise;
      this.#wake = undefined;
      signal.removeEventListener("abort", wake);
      clearTimeout(timer);
    }
    this.#rung = false;
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}
