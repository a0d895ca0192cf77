import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Records, WINDOW } from "../../src/probe/records.ts";
import { decodeRtt, encodeRtt, LOST } from "../../src/probe/rtt-code.ts";

const NOW = 1_700_000_000_000;

test("a round-trip time in 16 bits is right to half a per mille, and in order", () => {
  const rtt = fc.double({ min: 0, max: 100_000, noNaN: true });
  fc.assert(
    fc.property(rtt, rtt, (one, other) => {
      const [low, high] = one < other ? [one, other] : [other, one];
      expect(encodeRtt(low)).toBeLessThanOrEqual(encodeRtt(high));
      for (const value of [low, high]) {
        expect(encodeRtt(value)).not.toBe(LOST);
        expect(Math.abs(decodeRtt(encodeRtt(value)) - value)).toBeLessThanOrEqual(value * 0.0005 + 0.00001);
      }
    }),
  );
  expect(encodeRtt(1e12)).toBe(0xffff);
});

/** What a path's window should say of these probes: it begins with the first answer. */
function expected(probes: readonly (number | undefined)[]) {
  const first = probes.findIndex((rtt) => rtt !== undefined);
  const window = probes.slice(Math.max(0, first)).slice(-WINDOW);
  const answered = window.filter((rtt) => rtt !== undefined);
  const sorted = answered.toSorted((a, b) => a - b);
  const rank = (share: number) => sorted[Math.ceil(sorted.length * share) - 1];
  return { sent: window.length, received: answered.length, last: answered.at(-1), p50: rank(0.5), p99: rank(0.99) };
}

describe("the records of a path", () => {
  test("have the last probes, their loss and their percentiles, in rows that do not mix", () => {
    const probes = fc.array(fc.option(fc.integer({ min: 1, max: 5_000 }), { nil: undefined }), { maxLength: 200 });
    fc.assert(
      fc.property(probes, probes, fc.nat({ max: 300 }), (overlay, underlay, row) => {
        const records = new Records();
        for (const each of [row, row + 1]) records.clear(each);
        for (const [at, rtt] of overlay.entries()) records.record(row, "overlay", rtt, NOW + at);
        for (const rtt of underlay) records.record(row, "underlay", rtt, NOW);
        for (const [path, given] of [
          ["overlay", overlay],
          ["underlay", underlay],
        ] as const) {
          const facts = records.facts(row)[path];
          const { sent, received, last, p50, p99 } = expected(given);
          expect(facts).toMatchObject({ sent, received });
          for (const [found, wanted] of [
            [facts.lastMs, last],
            [facts.p50Ms, p50],
            [facts.p99Ms, p99],
          ]) {
            if (wanted === undefined) expect(found).toBeUndefined();
            else expect(Math.abs((found ?? 0) - wanted)).toBeLessThan(wanted * 0.001);
          }
        }
        expect(records.evidence(row)).toMatchObject({
          ...(({ sent, received }) => ({ sent, received }))(expected(overlay)),
        });
        const lastAnswer = overlay.findLastIndex((rtt) => rtt !== undefined);
        expect(records.facts(row).overlay.lastSuccessAt).toBe(lastAnswer < 0 ? undefined : NOW + lastAnswer);
        expect(records.facts(row + 1)).toEqual({
          verdict: "unknown",
          overlay: { sent: 0, received: 0 },
          underlay: { sent: 0, received: 0 },
        });
      }),
    );
  });

  test("begin anew with the first answer after an outage, whose probes are no loss any more", () => {
    const records = new Records();
    records.clear(0);
    records.record(0, "overlay", 1, NOW);
    for (let n = 0; n < 30; n++) records.record(0, "overlay", undefined, NOW);
    records.setState(0, "overlay", "silent");
    records.record(0, "overlay", undefined, NOW);
    expect(records.evidence(0)).toMatchObject({ overlay: "silent", sent: 32, received: 1 });
    records.record(0, "overlay", 2, NOW + 1);
    expect(records.evidence(0)).toMatchObject({ overlay: "answers", sent: 1, received: 1 });
    records.record(0, "overlay", undefined, NOW + 2);
    expect(records.facts(0).overlay).toMatchObject({ sent: 2, received: 1, lastSuccessAt: NOW + 1 });
  });

  test("are forgotten when a row is cleared, and kept when more rows are made", () => {
    const records = new Records();
    records.clear(3);
    records.record(3, "underlay", 7, NOW);
    records.setVerdict(3, "reachable", NOW);
    records.setState(3, "fullSize", "silent");
    records.markProbed(3, NOW + 5, true);
    const facts = records.facts(3);
    expect(facts).toMatchObject({
      verdict: "reachable",
      since: NOW,
      lastProbedAt: NOW + 5,
      fullSizePasses: false,
      fullSizeCheckedAt: NOW + 5,
      underlay: { sent: 1, received: 1 },
    });
    records.reserve(5_000);
    records.clear(9_000);
    expect(records.facts(3)).toEqual(facts);
    records.setVerdict(3, "reachable", NOW + 9);
    expect(records.facts(3).since).toBe(NOW);
    records.clear(3);
    expect(records.facts(3)).toEqual(records.facts(8_000));
  });
});
