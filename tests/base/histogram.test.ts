import { expect, test } from "bun:test";
import fc from "fast-check";
import { Histogram } from "../../src/base/histogram.ts";

test("a value counts below the first bound that it does not exceed", () => {
  const histogram = new Histogram([1, 5]);
  for (const value of [0, 1, 1.5, 5, 5.1, 100]) histogram.observe(value);
  expect(histogram.facts()).toEqual({ bounds: [1, 5], counts: [2, 2, 2], sum: 112.6 });
});

test("each value counts once, and what was told does not change", () => {
  const values = fc.array(fc.double({ noNaN: true, min: 0, max: 1e6 }));
  fc.assert(
    fc.property(values, values, (first, second) => {
      const histogram = new Histogram([0.1, 1, 10]);
      for (const value of first) histogram.observe(value);
      const before = histogram.facts();
      for (const value of second) histogram.observe(value);
      const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);
      expect(total(before.counts)).toBe(first.length);
      const after = histogram.facts();
      expect(total(after.counts)).toBe(first.length + second.length);
      // A counter never goes down.
      for (const [at, count] of before.counts.entries()) expect(after.counts[at]).toBeGreaterThanOrEqual(count);
    }),
  );
});
