import { expect, test } from "bun:test";
import { expectUsually } from "./usual-time.ts";

/** Series that are measured one after the other; the last one comes again and again. */
const measured = (...series: number[][]) => {
  let next = 0;
  return async () => series[Math.min(next++, series.length - 1)] ?? [];
};

test("one time that is longer makes no difference, nor does a series while the machine is busy", async () => {
  await expectUsually(100, measured([10, 900, 20]));
  await expectUsually(100, measured([500, 10, 500], [90, 99, 500]));
});

test("what takes longer each time is told with the medians", async () => {
  await expect(expectUsually(100, measured([5, 100, 700], [120]))).rejects.toThrow(
    "not usually within 100 ms: medians of 100, 120, 120, 120, 120 ms",
  );
  await expect(expectUsually(100, measured([]))).rejects.toThrow("not usually");
});
