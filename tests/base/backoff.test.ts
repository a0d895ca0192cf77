import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { backoffDelay, sleep } from "../../src/base/backoff.ts";

describe("backoffDelay", () => {
  const limits = { first: 100, cap: 30_000 };

  test.each([
    [0, 100],
    [1, 100],
    [2, 200],
    [3, 400],
    [9, 25_600],
    [10, 30_000],
    [1_000_000, 30_000],
  ])("after %d failures is between half of %d ms and all of it", (attempt, full) => {
    expect(backoffDelay(attempt, limits, () => 0)).toBe(full / 2);
    expect(backoffDelay(attempt, limits, () => 1)).toBe(full);
  });

  test("stays within its limits whatever they are", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 1e6 }), fc.nat(1e6), (attempt, first, more) => {
        const delay = backoffDelay(attempt, { first, cap: first + more });
        expect(delay).toBeGreaterThanOrEqual(first / 2);
        expect(delay).toBeLessThanOrEqual(first + more);
      }),
    );
  });
});

describe("sleep", () => {
  test("ends by itself", async () => {
    let over = false;
    setTimeout(() => {
      over = true;
    }, 1);
    await sleep(20);
    expect(over).toBe(true);
  });

  test("ends when the signal aborts, before or meanwhile", async () => {
    const hour = 3_600_000;
    await sleep(hour, AbortSignal.abort());
    const controller = new AbortController();
    const sleeping = sleep(hour, controller.signal);
    controller.abort();
    await sleeping;
  });
});
