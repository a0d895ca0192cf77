import { expect, test } from "bun:test";
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
      ...{ node: "n1", cause: "a test", durationMs: 5 },
    },
  ]);
});
