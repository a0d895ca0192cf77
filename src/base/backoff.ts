/** Delays in milliseconds: each up to twice the one before, from `first` to at most `cap`. */
export interface BackoffLimits {
  readonly first: number;
  readonly cap: number;
}

/**
 * Capped exponential delay with jitter ("equal jitter": half fixed, half random), so that many nodes that failed
 * together do not come back together.
 * @param attempt failures so far, 1 for the first
 * @returns milliseconds
 */
export function backoffDelay(
  attempt: number,
  { first, cap }: BackoffLimits,
  random: () => number = Math.random,
): number {
  const full = Math.min(cap, first * 2 ** Math.max(0, Math.min(attempt - 1, 30)));
  return full / 2 + (full / 2) * random();
}

/** Resolves after `ms` milliseconds, or at once when the signal aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal?.aborted) {
    resolve();
    return promise;
  }
  const done = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", done);
    resolve();
  };
  const timer = setTimeout(done, ms);
  signal?.addEventListener("abort", done);
  return promise;
}
