interface ParallelOptions {
  /** how many run at a time; all if not given */
  readonly limit?: number;
  readonly signal: AbortSignal;
}

/**
 * Does the work for each item, some at a time. The first failure aborts the signal of the others; when all have ended
 * it is thrown, so that nothing goes on behind the caller's back.
 * @returns the results in the order of the items
 */
export async function inParallel<T, R>(
  items: readonly T[],
  { limit = items.length, signal }: ParallelOptions,
  work: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  const results: R[] = [];
  const waiting = items.entries();
  const worker = async () => {
    for (const [index, item] of waiting) {
      if (either.aborted) return;
      results[index] = await work(item, either);
    }
  };
  await Promise.all(
    Array.from({ length: Math.min(limit, items.length) }, () =>
      worker().catch((error: unknown) => failure.abort(error)),
    ),
  );
  signal.throwIfAborted();
  failure.signal.throwIfAborted();
  return results;
}
