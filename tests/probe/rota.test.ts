import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MOST_A_ROUND, Rota } from "../../src/probe/rota.ts";

const NONE: ReadonlySet<number> = new Set();

function rotaOf(peers: number): Rota {
  const rota = new Rota();
  for (let peer = 0; peer < peers; peer++) rota.add(peer);
  return rota;
}

/** The longest time between two turns of each peer, in rounds, the start counting as a turn. */
function longestGaps(rota: Rota, peers: number, rounds: number, troubled: ReadonlySet<number> = NONE): number[] {
  const last = new Array<number>(peers).fill(-1);
  const gaps = new Array<number>(peers).fill(0);
  for (let round = 0; round < rounds; round++) {
    const turns = rota.next(troubled);
    expect(turns.length).toBeLessThanOrEqual(MOST_A_ROUND);
    expect(new Set(turns).size).toBe(turns.length);
    for (const peer of turns) {
      gaps[peer] = Math.max(gaps[peer] ?? 0, round - (last[peer] ?? -1));
      last[peer] = round;
    }
  }
  return gaps.map((gap, peer) => Math.max(gap, rounds - 1 - (last[peer] ?? -1)));
}

describe("whose turn it is", () => {
  test("every peer has a turn in each n/64 rounds, never more than 64 in one", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 700 }), (peers) => {
        const most = Math.ceil(peers / 64);
        expect(Math.max(...longestGaps(rotaOf(peers), peers, most * 4))).toBeLessThanOrEqual(most);
      }),
      { numRuns: 60 },
    );
  });

  test("peers in trouble are asked in each round as far as there is room, the others as often as n/48 allows", () => {
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 700 }), fc.integer({ min: 1, max: 100 }), (peers, troubledPeers) => {
        const rota = rotaOf(peers);
        // They are known to be in trouble once they had a turn.
        for (let round = 0; round < Math.ceil(peers / 64); round++) rota.next(NONE);
        const troubled = new Set(Array.from({ length: troubledPeers }, (_, peer) => peer));
        const gaps = longestGaps(rota, peers, Math.ceil(peers / 48) * 4, troubled);
        expect(Math.max(...gaps)).toBeLessThanOrEqual(Math.ceil(peers / 48));
        const asked = Math.max(...gaps.slice(0, troubledPeers));
        expect(asked).toBeLessThanOrEqual(Math.ceil(troubledPeers / 16));
      }),
      { numRuns: 60 },
    );
  });

  test("whoever was not asked yet goes before those in trouble", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 700 }), (peers) => {
        const rota = rotaOf(peers);
        const asked = new Set<number>();
        for (let round = 0; round < Math.ceil(peers / 64); round++) {
          const turns = rota.next(new Set(asked));
          expect(turns.length).toBeLessThanOrEqual(MOST_A_ROUND);
          for (const peer of turns) asked.add(peer);
        }
        expect(asked.size).toBe(peers);
      }),
      { numRuns: 60 },
    );
  });

  test("new peers come in the next round, and whoever left does not", () => {
    const rota = rotaOf(500);
    for (let round = 0; round < 11; round++) rota.next(NONE);
    for (let peer = 500; peer < 510; peer++) rota.add(peer);
    rota.retain((peer) => peer % 2 === 0 || peer >= 500);
    expect(rota.next(NONE)).toEqual(expect.arrayContaining([500, 501, 502, 503, 504, 505, 506, 507, 508, 509]));
    const seen = new Set<number>();
    for (let round = 0; round < Math.ceil(260 / 64); round++) for (const peer of rota.next(NONE)) seen.add(peer);
    expect(seen.size).toBe(260);
    expect([...seen].filter((peer) => peer % 2 === 1 && peer < 500)).toEqual([]);
  });

  test("the order is one of chance, another on each node", () => {
    expect(rotaOf(1000).next(NONE)).not.toEqual(rotaOf(1000).next(NONE));
  });

  test("without peers there is no turn", () => {
    expect(new Rota().next(NONE)).toEqual([]);
  });
});
