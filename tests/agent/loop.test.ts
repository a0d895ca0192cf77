import { expect, test } from "bun:test";
import { Loop, type TurnResult } from "../../src/agent/loop.ts";
import { eventually } from "../support/wait.ts";

/** A loop whose turns the test ends one by one. */
class Turns {
  readonly causes: string[][] = [];
  readonly loop = new Loop(async (causes) => {
    this.causes.push([...causes]);
    this.most = Math.max(this.most, ++this.#running);
    const { promise, resolve, reject } = Promise.withResolvers<TurnResult>();
    this.#end = { resolve, reject };
    return promise.finally(() => {
      this.#running--;
    });
  });
  most = 0;
  #running = 0;
  #end: { resolve: (value: TurnResult) => void; reject: (error: Error) => void } | undefined;

  async started(count: number): Promise<void> {
    await eventually(() => this.causes.length >= count, { within: 20_000, what: `turn ${count} begins` });
  }

  end(complete = true): void {
    this.#end?.resolve({ complete, undone: false });
  }

  fail(): void {
    this.#end?.reject(new Error("the turn broke"));
  }
}

test("one turn at a time; what comes meanwhile leads to one more, with all causes", async () => {
  const turns = new Turns();
  turns.loop.mark("first");
  await turns.started(1);
  for (const cause of ["a", "b", "a"]) turns.loop.mark(cause);
  expect(turns.loop.facts().busySince).toBeNumber();
  turns.end();
  await turns.started(2);
  turns.end();
  expect(turns.causes).toEqual([["first"], ["a", "b"]]);
  await turns.loop.stop();
  expect(turns.most).toBe(1);
});

test("a turn that is not complete, or breaks, is tried again by itself until it is", async () => {
  const turns = new Turns();
  turns.loop.mark("start");
  await turns.started(1);
  turns.end(false);
  await turns.started(2);
  expect(turns.loop.facts().failuresInARow).toBe(1);
  turns.fail();
  await turns.started(3);
  expect(turns.loop.facts().failuresInARow).toBe(2);
  turns.end(true);
  await eventually(() => turns.loop.facts().failuresInARow === 0, {
    within: 10_000,
    what: "the failures are forgotten",
  });
  expect(turns.causes).toEqual([["start"], ["retry"], ["retry"]]);
  await turns.loop.stop();
});

test("an event does not wait for the delay after a failure", async () => {
  const turns = new Turns();
  turns.loop.mark("start");
  for (let turn = 1; turn <= 7; turn++) {
    await turns.started(turn);
    turns.end(false);
  }
  // The next retry would be after 3.2 s or more.
  await eventually(() => turns.loop.facts().turns === 7, { within: 1_000, what: "the seventh turn has ended" });
  turns.loop.mark("event");
  await eventually(() => turns.causes.length === 8, { within: 1_500, what: "the event's turn begins" });
  expect(turns.causes[7]).toEqual(["event"]);
  turns.end();
  await turns.loop.stop();
});

test("after stop there is no turn, and stop waits for the one under way", async () => {
  const turns = new Turns();
  turns.loop.mark("start");
  await turns.started(1);
  let stopped = false;
  const stopping = turns.loop.stop().then(() => {
    stopped = true;
  });
  await Promise.resolve();
  expect(stopped).toBe(false);
  turns.end();
  await stopping;
  turns.loop.mark("late");
  await new Promise(setImmediate);
  expect(turns.causes).toHaveLength(1);
});

test("what others publish is not put off, however much it is", async () => {
  let turns = 0;
  const loop: Loop = new Loop(async () => {
    if (++turns < 200) loop.mark("leases changed");
    return { complete: true, undone: false };
  });
  loop.mark("start");
  // At the rate of undone turns it would take 18 s.
  await eventually(() => turns === 200, { within: 12_000, what: "200 turns" });
  await loop.stop();
});

test("somebody who undoes our work all the time does not make it turn without end", async () => {
  let turns = 0;
  const loop: Loop = new Loop(async () => {
    turns++;
    loop.mark("undone again");
    return { complete: true, undone: true };
  });
  const started = performance.now();
  loop.mark("start");
  await eventually(() => turns >= 25, { within: 30_000, what: "25 turns" });
  await loop.stop();
  // 20 at once, then 10 a second.
  const seconds = (performance.now() - started) / 1000;
  expect(turns).toBeLessThanOrEqual(20 + 10 * seconds + 2);
});
