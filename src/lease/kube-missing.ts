import { backoffDelay, sleep } from "../base/backoff.ts";

/** Reads at once; each is a request of its own. */
const WORKERS = 8;
const RETRY = { first: 500, cap: 20_000 };

/** Reads single objects one time each, however often they are asked for meanwhile, and again if that fails. */
export class ReadQueue {
  readonly #read: (name: string) => Promise<void>;
  readonly #onFailure: (error: unknown) => void;
  readonly #signal: AbortSignal;
  readonly #waiting = new Set<string>();
  /** being read; true if it was asked for since that began, so that the answer may be too old */
  readonly #reading = new Map<string, boolean>();
  #failures = 0;

  /**
   * @param read rejects if it has to be tried again
   * @param signal ends it
   */
  constructor(read: (name: string) => Promise<void>, onFailure: (error: unknown) => void, signal: AbortSignal) {
    this.#read = read;
    this.#onFailure = onFailure;
    this.#signal = signal;
  }

  add(name: string): void {
    if (this.#reading.has(name)) {
      this.#reading.set(name, true);
      return;
    }
    this.#waiting.add(name);
    if (this.#reading.size < WORKERS) void this.#work();
  }

  async #work(): Promise<void> {
    for (;;) {
      const [name] = this.#waiting;
      if (name === undefined || this.#signal.aborted) return;
      this.#waiting.delete(name);
      this.#reading.set(name, false);
      let again = false;
      try {
        await this.#read(name);
        this.#failures = 0;
      } catch (error) {
        again = true;
        this.#failures++;
        if (!this.#signal.aborted) this.#onFailure(error);
        await sleep(backoffDelay(this.#failures, RETRY), this.#signal);
      }
      if (this.#reading.get(name) || again) this.#waiting.add(name);
      this.#reading.delete(name);
    }
  }
}
