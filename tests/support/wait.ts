import { sleep } from "../../src/base/backoff.ts";

/** milliseconds between two looks */
const INTERVAL_MS = 10;

export interface Patience {
  /** milliseconds */
  readonly within: number;
  /** what is awaited, for the message: "the route is back" */
  readonly what: string;
}

/**
 * Looks again and again until `look` returns something truthy; an exception counts as "not yet". The last look begins when the
 * time is over, not before: a look that takes long, as on a busy machine, has seen things as they were when it began.
 * @returns what it returned
 * @throws Error that says what was awaited, and, as its cause, why the last look failed
 */
export async function eventually<T>(look: () => T | Promise<T>, { within, what }: Patience): Promise<NonNullable<T>> {
  const deadline = performance.now() + within;
  for (;;) {
    const isLast = performance.now() >= deadline;
    const last = await attempt(look);
    if ("value" in last && last.value) return last.value;
    if (isLast) {
      const why = "error" in last ? describe(last.error) : `the last look saw ${Bun.inspect(last.value)}`;
      throw new Error(`not within ${within} ms: ${what}: ${why}`, "error" in last ? { cause: last.error } : {});
    }
    await sleep(Math.min(INTERVAL_MS, Math.max(0, deadline - performance.now())));
  }
}

async function attempt<T>(look: () => T | Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await look() };
  } catch (error) {
    return { error };
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
