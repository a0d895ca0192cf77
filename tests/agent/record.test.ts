import { expect, test } from "bun:test";
import { ReconcileRecord } from "../../src/agent/record.ts";
import type { Desired } from "../../src/desired/desired.ts";
import type { Operation } from "../../src/kernel/operations.ts";
import type { ReconcileReport } from "../../src/kernel/reconciler.ts";
import { EventLog } from "../../src/status/event-log.ts";
import { prefix } from "../lease/samples.ts";

const desired = (): Desired => ({ devices: [], routes: new Map(), blackholes: [], networks: {}, skipped: [] });
const route = (n: number): Operation => ({
  kind: "route-replace",
  destination: prefix(`10.244.${n}.0/24`),
  gateway: undefined,
  index: 7,
  onlink: true,
  protocol: 112,
  why: "it is missing",
});
const report = (changes: Partial<ReconcileReport> = {}): ReconcileReport => ({
  done: new Map([["route-replace", 1]]),
  failed: [],
  first: [route(1)],
  settled: true,
  durationMs: 4,
  ...changes,
});
const nothing = report({ done: new Map(), first: [] });

/** A record that has programmed once what is wanted. */
function settled(): { record: ReconcileRecord; wanted: Desired; told: () => object[] } {
  const events = new EventLog();
  const record = new ReconcileRecord(events);
  const wanted = desired();
  record.begin();
  record.add(["start"], wanted, true, report());
  expect(events.after()).toMatchObject([
    { kind: "programmed", message: "1 route-replace", cause: "start", durationMs: 4 },
  ]);
  return { record, wanted, told: () => events.after(1) };
}

test("a drift that the kernel told of: what changed, then what was done, and how long it took from the notification", () => {
  const { record, wanted, told } = settled();
  for (let n = 1; n <= 5; n++) record.noticed(`route 10.244.${n}.0/24 deleted`, true);
  record.begin();
  const changes = "route 10.244.1.0/24 deleted, route 10.244.2.0/24 deleted, route 10.244.3.0/24 deleted and 2 more";
  expect(told()).toMatchObject([{ kind: "driftFound", level: "warning", message: changes }]);
  record.add(["route 10.244.1.0/24 deleted"], wanted, true, report());
  expect(told()).toMatchObject([
    { kind: "driftFound" },
    {
      kind: "repaired",
      message: "1 route-replace: replace route 10.244.1.0/24: it is missing",
      cause: "route 10.244.1.0/24 deleted",
      durationMs: expect.any(Number),
    },
  ]);
});

test("a drift that only reading all showed; what turns out to be nothing is none", () => {
  const { record, wanted, told } = settled();
  record.noticed("lost notifications", false);
  record.begin();
  record.add(["lost notifications"], wanted, true, nothing);
  record.begin();
  record.add(["resync"], wanted, true, nothing);
  expect(told()).toEqual([]);
  record.begin();
  record.add(["resync"], wanted, true, report());
  expect(told()).toMatchObject([
    { kind: "driftFound", message: "replace route 10.244.1.0/24: it is missing", cause: "resync" },
    { kind: "repaired", cause: "resync", durationMs: 4 },
  ]);
});

test("what is wanted now and was not before is no drift", () => {
  const { record, told } = settled();
  record.begin();
  record.add(["own lease", "leases changed", "start", "resync"], desired(), true, report());
  const cause = "own lease, leases changed, start and more";
  expect(told()).toMatchObject([{ kind: "programmed", message: "1 route-replace", cause }]);
});

test("each new failure is told once, of many the first", () => {
  const { record, told } = settled();
  const wanted = desired();
  const failed = Array.from({ length: 20 }, (_, n) => ({
    operation: route(n),
    error: new Error(`route ${n} refused`),
  }));
  const refused = report({ done: new Map(), failed, settled: false });
  record.add(["leases changed"], wanted, true, refused);
  record.add(["retry"], wanted, true, refused);
  expect(told()).toHaveLength(6);
  expect(told()[0]).toMatchObject({ kind: "applyFailed", level: "error", message: "route 0 refused" });
  expect(told()[5]).toMatchObject({ kind: "applyFailed", message: "15 more operations failed" });
});
