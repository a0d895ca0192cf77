import { constants } from "node:os";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A signal within this many milliseconds of the first is the same Ctrl-C: npm passes on what the terminal sent us too. */
const SAME_KEYPRESS_MS = 500;

/** The lab was to stop before its report. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";
  /** the shell's exit code for the signal */
  readonly exitCode: number;

  constructor(name: (typeof SIGNALS)[number]) {
    super(`interrupted by ${name}`);
    this.exitCode = 128 + constants.signals[name];
  }
}

/** Turns the signals that end a program into an abort, and a second one into `force`. */
export class Interrupts implements Disposable {
  readonly #abort = new AbortController();
  readonly #listeners = SIGNALS.map((name) => [name, () => this.#onSignal(name)] as const);
  readonly #force: (exitCode: number) => void;
  #first: number | undefined;

  /** @param force for a second signal while the first is still being obeyed */
  constructor(force: (exitCode: number) => void) {
    this.#force = force;
    for (const [name, listener] of this.#listeners) process.on(name, listener);
  }

  /** Aborts at the first signal; its reason is an InterruptedError. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  #onSignal(name: (typeof SIGNALS)[number]): void {
    const error = new InterruptedError(name);
    const now = performance.now();
    if (this.#first === undefined) {
      this.#first = now;
      this.#abort.abort(error);
    } else if (now - this.#first > SAME_KEYPRESS_MS) {
      this.#force(error.exitCode);
    }
  }

  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) process.off(name, listener);
  }
}
