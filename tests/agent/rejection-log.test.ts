import { expect, test } from "bun:test";
import { RejectionLog } from "../../src/agent/rejection-log.ts";
import type { RejectedLease } from "../../src/lease/lease.ts";

const snapshot = (...rejected: RejectedLease[]) => ({ leases: [], rejected, takenAt: 0 });

test("a record counts once for each reason, and again when it turned bad anew", () => {
  const rejections = new RejectionLog();
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
