interface Sleeper {
  readonly until: number;
  readonly wake: () => void;
}

/** Time that passes only when a test says so. */
export class FakeTime {
  #now = 1_000_000;
  #sleepers: Sleeper[] = [];
  /** the delays that were asked for, in milliseconds */
  readonly waits: number[] = [];

  readonly now = (): number => this.#now;

  readonly wait = (ms: number, signal: AbortSignal): Promise<void> => {
    this.waits.push(ms);
    const { promise, resolve } = Promise.withResolvers<void>();
    const sleeper = {
      until: this.#now + ms,
      wake: () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        resolve();
      },
    };
    this.#sleepers.push(sleeper);
    if (signal.aborted) sleeper.wake();
    signal.addEventListener("abort", sleeper.wake);
    return promise;
  };

  get sleeping(): number {
    return this.#sleepers.length;
  }

  /** Lets all that is due in the next `ms` happen, one after the other. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const [next] = this.#sleepers.filter(({ until }) => until <= end).sort((a, b) => a.until - b.until);
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.until);
      next.wake();
    }
    this.#now = end;
    await settle();
  }
}

/** Resolves when everything that waits for nothing but other promises has gone on. */
export function settle(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setImmediate(resolve);
  return promise;
}
