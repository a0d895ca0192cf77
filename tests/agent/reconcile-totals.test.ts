import { expect, test } from "bun:test";
import { ReconcileTotals } from "../../src/agent/reconcile-totals.ts";
import type { Operation } from "../../src/kernel/operations.ts";
import type { ReconcileReport } from "../../src/kernel/reconciler.ts";
import type { Snapshot } from "../../src/lease/lease.ts";
import { prefix } from "../net/values.ts";

const snapshot = (age: number): Snapshot => ({ leases: [], rejected: [], takenAt: Date.now() - age });
const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);

const operation: Operation = {
  ...{ kind: "route-replace", destination: prefix("10.244.7.0/24"), gateway: undefined, index: 4 },
  ...{ onlink: false, protocol: 112, why: "it is missing" },
};
const report = (changes: Partial<ReconcileReport> = {}): ReconcileReport => ({
  ...{ done: new Map(), failed: [], first: [], settled: true, durationMs: 2 },
  ...changes,
});

test("what was done and refused adds up; a reconcile with nothing to do is not measured", () => {
  const totals = new ReconcileTotals();
  const leases = snapshot(0);
  totals.add(
    leases,
    report({
      done: new Map([
        ["route-replace", 2],
        ["link-add", 1],
      ]),
    }),
  );
  totals.add(leases, report());
  const failed = [{ operation, error: new Error("ENETDOWN") }];
  totals.add(leases, report({ done: new Map([["route-replace", 3]]), failed, settled: false, durationMs: 20_000 }));
  const { operations, refused, applySeconds } = totals.facts();
  expect(operations).toEqual({ "route-replace": 5, "link-add": 1 });
  expect(refused).toEqual({ "route-replace": 1 });
  expect(total(applySeconds.counts)).toBe(2);
  expect(applySeconds.counts.at(-1)).toBe(1);
  expect(applySeconds.sum).toBeCloseTo(20.002);
});

test("a snapshot is measured once, when the kernel is as it wants it at last", () => {
  const totals = new ReconcileTotals();
  const late = snapshot(3_000);
  totals.add(late, report({ settled: false }));
  expect(total(totals.facts().followSeconds.counts)).toBe(0);
  totals.add(late, report());
  totals.add(late, report());
  const { counts, bounds, sum } = totals.facts().followSeconds;
  expect(total(counts)).toBe(1);
  expect(sum).toBeGreaterThanOrEqual(3);
  expect(counts[bounds.findIndex((bound) => sum <= bound)]).toBe(1);
  // One that a clock says to be of the future took no time.
  totals.add(snapshot(-60_000), report());
  expect(totals.facts().followSeconds.counts[0]).toBe(1);
});
