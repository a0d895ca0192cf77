import { expect, test } from "bun:test";
import { ProbeTotals } from "../../src/probe/totals.ts";

test("all probes count by family and path, and those with an answer by how long it took", () => {
  const totals = new ProbeTotals();
  totals.add(4, "overlay", 0.2);
  totals.add(4, "overlay", undefined);
  totals.add(4, "overlay", 1_500);
  totals.add(6, "overlay", 3);
  totals.add(4, "fullSize", undefined);
  const [first, second, third] = totals.facts();
  expect(first).toMatchObject({ family: 4, path: "overlay", sent: 3 });
  const { bounds, counts, sum } = first?.rttSeconds ?? { bounds: [], counts: [], sum: 0 };
  expect(bounds.filter((_, at) => counts[at] === 1)).toEqual([0.00025]);
  // Beyond all bounds.
  expect(counts.at(-1)).toBe(1);
  expect(sum).toBeCloseTo(1.5002);
  expect(second).toMatchObject({ family: 6, path: "overlay", sent: 1 });
  expect(third).toMatchObject({ family: 4, path: "fullSize", sent: 1, rttSeconds: { sum: 0 } });
});
