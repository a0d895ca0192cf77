import { expect, test } from "bun:test";
import { RejectionLog } from "../../src/agent/rejection-log.ts";
import type { RejectedLease } from "../../src/lease/lease.ts";
import { EventLog } from "../../src/status/event-log.ts";

const snapshot = (...rejected: RejectedLease[]) => ({ leases: [], rejected, takenAt: 0 });

test("a record counts once for each reason, and again when it turned bad anew", () => {
  const rejections = new RejectionLog(new EventLog());
  const bad = { key: "n1", reason: "the value is not JSON" };
  for (const [seen, count] of [
    [snapshot(), 0],
    [snapshot(bad), 1],
    [snapshot(bad), 1],
    [snapshot(bad, { key: "n2", reason: "x" }), 2],
    [snapshot({ ...bad, reason: "another" }), 3],
    [snapshot(), 3],
    [snapshot(bad), 4],
  ] as const) {
    rejections.look(seen);
    expect(rejections.count).toBe(count);
  }
});

test("of many at once the first are events of their own, the rest is one", () => {
  const events = new EventLog();
  const bad = Array.from({ length: 500 }, (_, n) => ({ key: `k${n}`, node: `n${n}`, reason: "the value is not JSON" }));
  new RejectionLog(events).look(snapshot(...bad));
  const told = events.after();
  expect(told).toHaveLength(11);
  expect(told.every(({ kind, level }) => kind === "leaseRejected" && level === "warning")).toBe(true);
  expect(told[0]).toMatchObject({ node: "n0", message: "lease k0 is left out", cause: "the value is not JSON" });
  expect(told[10]).toMatchObject({ node: null, message: "490 more leases are not right: see /debug/leases" });
});
