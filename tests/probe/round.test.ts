import { describe, expect, test } from "bun:test";
import type { Address } from "../../src/net/address.ts";
import type { Path } from "../../src/probe/records.ts";
import { runRound, type Train } from "../../src/probe/round.ts";
import { FakeCarrier } from "./fake-carrier.ts";

const PACE = { step: 20, timeout: 100 };
const never = new AbortController().signal;

function train(path: Path, most = 5, behind?: Train): Train {
  const target = "192.0.2.2" as Address;
  return {
    row: 0,
    family: 4,
    path,
    target,
    bytes: 16,
    most,
    sent: 0,
    answered: 0,
    refused: 0,
    ...(behind && { behind }),
  };
}

/** Runs one round. @returns what came of each probe, in order: how long its answer took, or undefined */
async function round(trains: Train[], carrier: FakeCarrier, signal = never, pace = PACE) {
  const results: [Path, number | undefined][] = [];
  await runRound(trains, carrier, ({ path }, rtt) => results.push([path, rtt]), signal, pace);
  return results;
}

describe("a round", () => {
  test("sends one probe where that is answered", async () => {
    const carrier = new FakeCarrier();
    const [small, under] = [train("overlay"), train("underlay")];
    expect(await round([small, under, train("fullSize", 5, small)], carrier)).toHaveLength(3);
    expect(carrier.sent.map(({ path }) => path)).toEqual(["overlay", "underlay", "fullSize"]);
    expect([small, under]).toMatchObject([
      { sent: 1, answered: 1 },
      { sent: 1, answered: 1 },
    ]);
  });

  test("sends more where none is answered, and nothing of full size where the small ones are lost", async () => {
    const carrier = new FakeCarrier();
    carrier.answersTo = ({ path }) => path === "underlay";
    const [small, under] = [train("overlay"), train("underlay", 2)];
    const full = train("fullSize", 5, small);
    const results = await round([small, full, under], carrier);
    expect([small, full, under]).toMatchObject([
      { sent: 5, answered: 0 },
      { sent: 0, answered: 0 },
      { sent: 1, answered: 1 },
    ]);
    expect(results.filter(([path]) => path === "overlay")).toEqual(new Array(5).fill(["overlay", undefined]));
  });

  test("goes on as soon as one of a train is answered; those before it are lost all the same", async () => {
    const carrier = new FakeCarrier();
    const small = train("overlay");
    carrier.answersTo = () => small.sent === 2;
    const full = train("fullSize", 5, small);
    const results = await round([small, full], carrier);
    expect(small).toMatchObject({ sent: 3, answered: 1 });
    // Of full size nothing is answered here.
    expect(full).toMatchObject({ sent: 5, answered: 0 });
    const overlay = results.filter(([path]) => path === "overlay").map(([, rtt]) => rtt !== undefined);
    expect(overlay.toSorted()).toEqual([false, false, true]);
  });

  test("counts an answer that took too long as a lost probe, and none twice", async () => {
    const carrier = new FakeCarrier();
    carrier.answersTo = () => false;
    const small = train("overlay", 1);
    const results: (number | undefined)[] = [];
    const running = runRound([small], carrier, (_, rtt) => results.push(rtt), never, PACE);
    // It came in time by neither clock.
    await Bun.sleep(150);
    carrier.answer(1, Date.now());
    await running;
    expect(results).toEqual([undefined]);
    expect(small.answered).toBe(0);
    // Nor does it count for the next round, in which a number it had is none of ours.
    carrier.answersTo = () => true;
    carrier.answer(1, Date.now());
    expect(await round([train("overlay")], carrier)).toHaveLength(1);
  });

  test("takes the time that the kernel noted, and its own where somebody set the clock meanwhile", async () => {
    const carrier = new FakeCarrier();
    carrier.rtt = 0.25;
    const [[, noted] = []] = await round([train("overlay")], carrier);
    expect(noted).toBeCloseTo(0.25, 2);
    // All is answered at once: so long may this process stand still meanwhile.
    const timeout = 10_000;
    for (const rtt of [-3_600_000, 3_600_000]) {
      carrier.rtt = rtt;
      const [[, measured = 0] = []] = await round([train("overlay")], carrier, never, { ...PACE, timeout });
      expect(measured).toBeGreaterThan(0);
      expect(measured).toBeLessThanOrEqual(timeout);
    }
  });

  test("counts an answer that came in time, though this process stood still meanwhile", async () => {
    const carrier = new FakeCarrier();
    carrier.rtt = 0.5;
    const running = round([train("overlay"), train("underlay")], carrier);
    Bun.sleepSync(3 * PACE.timeout);
    const results = await running;
    expect(results.map(([path]) => path)).toEqual(["overlay", "underlay"]);
    for (const [, rtt] of results) expect(rtt).toBeCloseTo(0.5, 2);
  });

  test("tries again what this node refused to send, which is no lost probe", async () => {
    const carrier = new FakeCarrier();
    const [small, under] = [train("overlay"), train("underlay", 3)];
    carrier.refuses = ({ path, sent }) => path === "underlay" || sent === 0;
    expect(await round([small, under], carrier)).toEqual([["overlay", expect.any(Number)]]);
    expect([small, under]).toMatchObject([
      { sent: 2, answered: 1, refused: 1 },
      { sent: 3, answered: 0, refused: 3 },
    ]);
  });

  test("ends at once when it is told to, and what was under way counts neither way", async () => {
    const carrier = new FakeCarrier();
    carrier.answersTo = () => false;
    const stopping = new AbortController();
    const running = round([train("overlay")], carrier, stopping.signal);
    stopping.abort();
    expect(await running).toEqual([]);
    expect(carrier.sent).toHaveLength(1);
  });
});
