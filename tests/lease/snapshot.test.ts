import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Lease } from "../../src/lease/lease.ts";
import { type Candidate, decodeRecord, type LeaseCandidate, RecordMemo } from "../../src/lease/records.ts";
import { buildSnapshot } from "../../src/lease/snapshot.ts";
import { encodeAttributes } from "../../src/lease/wire.ts";
import { FAMILIES } from "../../src/net/family.ts";
import { containsPrefix, makePrefix, overlaps } from "../../src/net/prefix.ts";
import { address, attributesOf, leaseOf, macOf, NETWORK, networkOf, prefix } from "./samples.ts";

const DUAL = networkOf({ 4: { network: "10.244.0.0/16" }, 6: { network: "fc00::/48" } });

function candidate(lease: Lease, rank = lease.createdAt ?? Number.POSITIVE_INFINITY): LeaseCandidate {
  return { lease, rank };
}

const keysOf = (records: readonly { readonly key: string }[]) => records.map(({ key }) => key);

describe("what the network has to do with it", () => {
  test("leases come back by key, as the very objects", () => {
    const leases = [leaseOf(2, "10.244.2.0/24"), leaseOf(1, "10.244.1.0/24")];
    const snapshot = buildSnapshot(
      leases.map((lease) => candidate(lease)),
      NETWORK,
      5,
    );
    expect(snapshot).toEqual({ leases: leases.toReversed(), rejected: [], takenAt: 5 });
    expect(snapshot.leases[0]).toBe(leases[1]);
  });

  test("a subnet outside it, or wider than it, is rejected", () => {
    const { leases, rejected } = buildSnapshot(
      [
        candidate(leaseOf(1, "10.245.1.0/24")),
        candidate(leaseOf(2, "10.0.0.0/8")),
        candidate(leaseOf(3, "10.244.3.0/24")),
      ],
      NETWORK,
      0,
    );
    expect(keysOf(leases)).toEqual(["10.244.3.0-24"]);
    expect(rejected).toEqual([
      {
        key: "10.0.0.0-8",
        node: "node-2",
        publicIPs: { 4: address("172.31.0.2") },
        reason: "its subnet 10.0.0.0/8 lies outside the network 10.244.0.0/16",
      },
      {
        key: "10.245.1.0-24",
        node: "node-1",
        publicIPs: { 4: address("172.31.0.1") },
        reason: "its subnet 10.245.1.0/24 lies outside the network 10.244.0.0/16",
      },
    ]);
  });

  test("a family that the network does not have does not count, one that is missing does no harm", () => {
    const both = leaseOf(1, "10.244.1.0/24", { subnets: { 4: prefix("10.244.1.0/24"), 6: prefix("fd00::/64") } });
    expect(buildSnapshot([candidate(both)], NETWORK, 0).leases).toEqual([both]);
    expect(buildSnapshot([candidate(both)], DUAL, 0).rejected[0]?.reason).toContain(
      "lies outside the network fc00::/48",
    );
    const four = leaseOf(1, "10.244.1.0/24");
    expect(buildSnapshot([candidate(four)], DUAL, 0).leases).toEqual([four]);
    const six = leaseOf(1, "10.244.1.0/24", { subnets: { 6: prefix("fc00::/64") } });
    expect(buildSnapshot([candidate(six)], NETWORK, 0).rejected[0]?.reason).toBe(
      "it has no subnet of a family that the network has (IPv4)",
    );
  });
});

describe("the older of two that claim the same wins", () => {
  const old = leaseOf(1, "10.244.16.0/24");
  test.each<[string, Lease, string]>([
    [
      "the same subnet",
      leaseOf(2, "10.244.16.0/24", { key: "x" }),
      "its subnet 10.244.16.0/24 overlaps 10.244.16.0/24 of",
    ],
    ["a subnet in it", leaseOf(2, "10.244.16.128/25"), "its subnet 10.244.16.128/25 overlaps 10.244.16.0/24 of"],
    ["a subnet around it", leaseOf(2, "10.244.0.0/19"), "its subnet 10.244.0.0/19 overlaps 10.244.16.0/24 of"],
    [
      "its public address",
      leaseOf(2, "10.244.2.0/24", { publicIPs: old.publicIPs }),
      "its public address 172.31.0.1 is that of",
    ],
    ["its VTEP MAC", leaseOf(2, "10.244.2.0/24", { vteps: old.vteps }), "its VTEP MAC 02:00:00:00:00:01 is that of"],
  ])("%s", (_, young, reason) => {
    for (const order of [
      [old, young],
      [young, old],
    ]) {
      const { leases, rejected } = buildSnapshot(
        order.map((lease) => candidate(lease)),
        NETWORK,
        0,
      );
      expect(leases).toEqual([old]);
      expect(rejected).toMatchObject([{ key: young.key, reason: `${reason} the older lease 10.244.16.0-24` }]);
    }
  });

  test("of the same age, or none, the lower key wins", () => {
    const [a, b] = [leaseOf(1, "10.244.1.0/24", { key: "a" }), leaseOf(2, "10.244.1.0/24", { key: "b" })];
    for (const rank of [7, Number.POSITIVE_INFINITY]) {
      expect(keysOf(buildSnapshot([candidate(b, rank), candidate(a, rank)], NETWORK, 0).leases)).toEqual(["a"]);
    }
    expect(keysOf(buildSnapshot([candidate(a, Number.POSITIVE_INFINITY), candidate(b, 7)], NETWORK, 0).leases)).toEqual(
      ["b"],
    );
  });

  test("a lease that lost takes nothing from others", () => {
    const young = leaseOf(2, "10.244.0.0/19");
    const youngest = leaseOf(3, "10.244.8.0/24");
    const { leases } = buildSnapshot(
      [old, young, youngest].map((lease) => candidate(lease)),
      NETWORK,
      0,
    );
    expect(keysOf(leases)).toEqual([old.key, youngest.key].sort());
  });

  test("neither does one outside the network, nor an equal MAC of another VNI", () => {
    const outside = leaseOf(1, "10.1.0.0/24");
    const young = leaseOf(2, "10.244.2.0/24", { publicIPs: outside.publicIPs, vteps: outside.vteps });
    expect(buildSnapshot([candidate(outside), candidate(young)], NETWORK, 0).leases).toEqual([young]);
    const otherVni = leaseOf(3, "10.244.3.0/24", { vteps: { 4: { vni: 2, mac: macOf(2) } } });
    const sameMac = leaseOf(2, "10.244.2.0/24");
    expect(buildSnapshot([candidate(otherVni), candidate(sameMac)], NETWORK, 0).leases).toHaveLength(2);
  });
});

/** Few values of everything, so that most leases collide with others. */
const crowded: fc.Arbitrary<LeaseCandidate[]> = fc
  .array(
    fc.record({
      third: fc.integer({ min: 0, max: 40 }),
      length: fc.constantFrom(20, 22, 23, 24, 26),
      sixth: fc.option(fc.tuple(fc.integer({ min: 0, max: 8 }), fc.constantFrom(60, 62, 64))),
      host: fc.integer({ min: 1, max: 60 }),
      mac: fc.integer({ min: 1, max: 60 }),
      rank: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constant(Number.POSITIVE_INFINITY)),
    }),
    { maxLength: 40 },
  )
  .map((drafts) =>
    drafts.map(({ third, length, sixth, host, mac, rank }, i) => {
      const four = makePrefix(address(`10.244.${third}.0`), length);
      const six = sixth === null ? undefined : makePrefix(address(`fc00:0:0:${sixth[0]}::`), sixth[1]);
      const lease = leaseOf(host, "10.244.0.0/24", {
        key: `key-${i}`,
        subnets: six === undefined ? { 4: four } : { 4: four, 6: six },
        vteps: { 4: { vni: 1, mac: macOf(mac) } },
      });
      return candidate(lease, rank);
    }),
  );

/** The rule, written down without a thought for speed. */
function acceptedBySlowRule(candidates: readonly LeaseCandidate[]): string[] {
  const accepted: Lease[] = [];
  const oldestFirst = candidates.toSorted((a, b) =>
    a.rank === b.rank ? (a.lease.key < b.lease.key ? -1 : 1) : a.rank < b.rank ? -1 : 1,
  );
  for (const { lease } of oldestFirst) {
    const collides = accepted.some((other) =>
      FAMILIES.some((family) => {
        const [ours, theirs] = [lease.subnets[family], other.subnets[family]];
        if (ours === undefined || theirs === undefined) return false;
        const same = (a: unknown, b: unknown) => a !== undefined && a === b;
        return (
          overlaps(ours, theirs) ||
          same(lease.publicIPs[family], other.publicIPs[family]) ||
          same(lease.vteps[family]?.mac, other.vteps[family]?.mac)
        );
      }),
    );
    if (!collides) accepted.push(lease);
  }
  return keysOf(accepted).sort();
}

test("any crowd of leases is sorted out as the rule says, whatever their order", () => {
  fc.assert(
    fc.property(
      crowded.chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))),
      ([all, shuffled]) => {
        const snapshot = buildSnapshot(all, DUAL, 1);
        const inside = all.filter(
          ({ lease }) => lease.subnets[4] && containsPrefix(prefix("10.244.0.0/16"), lease.subnets[4]),
        );
        expect(keysOf(snapshot.leases)).toEqual(acceptedBySlowRule(inside));
        expect(snapshot.leases.length + snapshot.rejected.length).toBe(all.length);
        expect(buildSnapshot(shuffled, DUAL, 1)).toEqual(snapshot);
      },
    ),
    { numRuns: 300 },
  );
});

interface Raw {
  readonly id: number;
  readonly value: string;
}

describe("records", () => {
  test("a record becomes a lease with all that the source knows", () => {
    const times = { createdAt: 10, expiresAt: 20 };
    const record = {
      key: "10.244.1.0-24",
      value: encodeAttributes(attributesOf(1)),
      node: "node-1",
      ...times,
      rank: 10,
    };
    expect(decodeRecord(record)).toEqual({
      lease: { ...attributesOf(1), key: "10.244.1.0-24", subnets: { 4: prefix("10.244.1.0/24") }, ...times },
      rank: 10,
    });
  });

  test.each<[string, string, string]>([
    ["10.244.1.0-24", "{}", "PublicIP is missing, though the key has an IPv4 subnet"],
    [
      "10.244.1.0-24&fc00::-64",
      encodeAttributes(attributesOf(1)),
      "PublicIPv6 is missing, though the key has an IPv6 subnet",
    ],
    ["10.244.1-24", encodeAttributes(attributesOf(1)), 'the key "10.244.1-24" is not a subnet'],
    ["10.244.1.0-24", "", "the value is not JSON"],
  ])("%s with %s is rejected: %s", (key, value, reason) => {
    const { rejected } = decodeRecord({ key, value, node: "node-1", expiresAt: 20, rank: 1 });
    expect(rejected).toMatchObject({ key, node: "node-1", reason: expect.stringContaining(reason) });
    expect(rejected).not.toHaveProperty("expiresAt");
  });

  test("a record that is the same as last time is not decoded again and gives the same object", () => {
    let decoded = 0;
    const memo = new RecordMemo<Raw, Candidate>(
      ({ id }) => id,
      (a, b) => a.value === b.value,
      ({ id, value }) => {
        decoded++;
        return decodeRecord({ key: `10.244.${id}.0-24`, value, rank: id });
      },
    );
    const raws = (changed: number) =>
      Array.from({ length: 100 }, (_, id) => ({ id, value: encodeAttributes(attributesOf(id === 7 ? changed : id)) }));
    const first = memo.decode(raws(7));
    expect(memo.decode(raws(7))).toBe(first);
    expect(decoded).toBe(100);
    const second = memo.decode(raws(200));
    expect(decoded).toBe(101);
    expect(second.filter((out, id) => out !== first[id])).toHaveLength(1);
    expect(memo.decode(raws(200).slice(1))).toHaveLength(99);
    expect(decoded).toBe(101);
    const [before, after] = [first, second].map((candidates) => buildSnapshot(candidates, NETWORK, 0));
    expect(after?.leases.filter((lease) => !before?.leases.includes(lease))).toHaveLength(1);
  });
});
