import { expect, test } from "bun:test";
import { changesAsEvents, LeaseEvents } from "../../src/agent/lease-events.ts";
import type { Lease } from "../../src/lease/lease.ts";
import { EventLog } from "../../src/status/event-log.ts";
import { address, leaseOf, macOf } from "../lease/samples.ts";

const sorted = (leases: readonly Lease[]) => leases.toSorted((a, b) => Number(a.key > b.key) - Number(a.key < b.key));
const leases = (from: number, to: number) =>
  sorted(
    Array.from({ length: to - from }, (_, n) => leaseOf(from + n, `10.${(from + n) >> 8}.${(from + n) & 255}.0/24`)),
  );
const snapshot = (list: readonly Lease[]) => ({ leases: list, rejected: [], takenAt: 0 });
const NOBODY = "";

test("a lease that came, changed or went is an event of its own, which says what is other", () => {
  const [one, two, three] = leases(1, 4);
  if (one === undefined || two === undefined || three === undefined) throw new Error("three leases");
  const moved = { ...two, publicIPs: { 4: address("192.0.2.99") }, vteps: { 4: { vni: 1, mac: macOf(99) } } };
  const events = changesAsEvents([one, two], [moved, three], NOBODY);
  expect(events.map(({ kind, node }) => [kind, node])).toEqual([
    ["leaseRemoved", one.node],
    ["leaseChanged", two.node],
    ["leaseAdded", three.node],
  ]);
  expect(events[0]?.message).toMatch(/^lease 10\.0\.1\.0\/24 of node node-1 \(.*\) is gone$/);
  expect(events[1]?.message).toContain("public address was");
  expect(events[1]?.message).toContain("is 192.0.2.99");
  expect(events[1]?.message).toContain(`is ${macOf(99)}`);
  expect(events[1]?.message).not.toContain("VNI");
});

test("a renewal is no news, nor is what happens to the own lease", () => {
  const before = leases(1, 40);
  const renewed = before.map((lease) => ({ ...lease, expiresAt: 1 }));
  expect(changesAsEvents(before, renewed, NOBODY)).toEqual([]);
  const own = before[3]?.key ?? "";
  expect(changesAsEvents(before, before.toSpliced(3, 1), own)).toEqual([]);
  expect(changesAsEvents(before, before.toSpliced(3, 1), NOBODY)).toHaveLength(1);
});

test("of more than ten at once only the numbers are told", () => {
  const before = leases(1, 100);
  expect(changesAsEvents(before, leases(1, 110), NOBODY)).toHaveLength(10);
  const many = sorted([...before.slice(2), ...leases(100, 137)]);
  expect(changesAsEvents(before, many, NOBODY)).toEqual([
    { kind: "leasesChanged", message: "37 added, 2 removed; there are 134 leases" },
  ]);
});

test("the first snapshot is one event, the same again is none", () => {
  const log = new EventLog();
  const events = new LeaseEvents(log, "embedded /x/leases.db");
  const first = snapshot(leases(1, 5001));
  events.look(first, NOBODY);
  events.look(first, NOBODY);
  events.look(snapshot(first.leases.slice(1)), NOBODY);
  expect(log.after()).toMatchObject([
    { kind: "leasesChanged", message: "5,000 leases read", durationMs: expect.any(Number) },
    {
      kind: "leaseRemoved",
      node: first.leases[0]?.node ?? null,
      cause: "embedded /x/leases.db says so",
      durationMs: expect.any(Number),
    },
  ]);
});
