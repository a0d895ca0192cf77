import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Event } from "../../src/api/events.ts";
import { EventLog } from "../../src/status/event-log.ts";

const ids = (events: readonly Event[]) => events.map(({ id }) => id);

function filled(capacity: number, count: number): EventLog {
  const log = new EventLog(capacity);
  for (let at = 1; at <= count; at++) log.add({ kind: "repaired", message: `${at}` });
  return log;
}

test("the last events are kept, the oldest first", () => {
  expect(ids(filled(3, 0).after())).toEqual([]);
  expect(ids(filled(3, 2).after())).toEqual([1, 2]);
  expect(filled(3, 7).after()).toMatchObject([5, 6, 7].map((id) => ({ id, message: `${id}` })));
});

test("what came after one of them, whether that is kept or not", () => {
  const log = filled(3, 7);
  expect(ids(log.after(6))).toEqual([7]);
  expect(ids(log.after(2))).toEqual([5, 6, 7]);
  expect(ids(log.after(7))).toEqual([]);
  expect(ids(log.after(100))).toEqual([]);
});

test("a listener gets each until it has enough", () => {
  const log = filled(3, 1);
  const got: Event[] = [];
  const end = log.subscribe((event) => got.push(event));
  log.add({ kind: "sourceLost", message: "gone", level: "warning", node: "n1", cause: "a test", durationMs: 5 });
  end();
  log.add({ kind: "sourceBack", message: "back" });
  expect(got).toEqual([
    {
      ...{ id: 2, at: expect.any(String), kind: "sourceLost", level: "warning", message: "gone" },
      ...{ node: "n1", cause: "a test", durationMs: 5, times: 1 },
    },
  ]);
});

test("the same more than thrice in ten seconds is counted, whatever came in between; of other nodes it is not the same", () => {
  let now = 1_700_000_000_000;
  const log = new EventLog(100, () => now);
  const told: number[] = [];
  log.subscribe(({ id }) => told.push(id));
  for (let round = 0; round < 20; round++, now += 1000) {
    log.add({ kind: "driftFound", message: "route deleted", cause: `round ${round}` });
    log.add({ kind: "repaired", message: "route deleted" });
    if (round % 10 < 4) log.add({ kind: "leaseAdded", message: "came", node: `n${round % 2}` });
  }
  const all = log.after();
  const of = (wanted: string) =>
    all.flatMap(({ kind, node, times, cause }) => (kind === wanted ? [[node ?? cause, times]] : []));
  const rounds = [
    ["round 0", 1],
    ["round 1", 1],
    ["round 2", 8],
  ];
  expect(of("driftFound")).toEqual([...rounds, ["round 10", 1], ["round 11", 1], ["round 12", 8]]);
  expect(of("repaired").map(([, times]) => times)).toEqual([1, 1, 8, 1, 1, 8]);
  expect(of("leaseAdded")).toHaveLength(8);
  expect(told).toEqual(ids(all));
});

test("a storm of two kinds, each time with other words, leaves the rest where it was", () => {
  const log = new EventLog(100);
  log.add({ kind: "started", message: "tartan starts" });
  for (let n = 0; n < 30; n++) log.add({ kind: "leaseAdded", message: "came", node: `n${n}` });
  for (let n = 0; n < 5000; n++) {
    log.add({ kind: "driftFound", message: `route ${n} deleted` });
    log.add({ kind: "repaired", message: `route ${n}` });
  }
  const kinds = log.after().map(({ kind }) => kind);
  expect(kinds).toHaveLength(100);
  expect(kinds.filter((kind) => kind === "started")).toHaveLength(1);
  expect(kinds.filter((kind) => kind === "leaseAdded")).toHaveLength(30);
  expect(log.after().at(-1)).toMatchObject({ kind: "repaired", message: "route 4999" });
});

test("whatever comes, no more than fit are kept, in their order, and the last one is among them", () => {
  const kinds = ["started", "ready", "repaired", "driftFound"] as const;
  const comers = fc.array(
    fc.record({ kind: fc.constantFrom(...kinds), message: fc.nat(3).map(String), wait: fc.nat(9000) }),
    {
      minLength: 1,
    },
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), comers, (capacity, events) => {
      let now = 0;
      const log = new EventLog(capacity, () => now);
      for (const { kind, message, wait } of events) {
        log.add({ kind, message });
        const kept = log.after();
        expect(kept.length).toBeLessThanOrEqual(capacity);
        expect(ids(kept)).toEqual(ids(kept).toSorted((a, b) => a - b));
        expect(kept.some((event) => event.kind === kind && event.message === message)).toBe(true);
        now += wait;
      }
    }),
  );
});

test("each kind is counted, also what is told with another event or is not kept any more", () => {
  const log = new EventLog(2);
  for (let n = 0; n < 5; n++) log.add({ kind: "repaired", message: `${n}` });
  for (let n = 0; n < 3; n++) log.add({ kind: "sourceLost", message: "x" });
  expect(log.totals).toEqual({ repaired: 5, sourceLost: 3 });
  expect(log.after().length).toBeLessThanOrEqual(2);
});
