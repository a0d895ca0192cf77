import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { chooseSubnets } from "../../src/lease/allocate.ts";
import type { Lease, RejectedLease } from "../../src/lease/lease.ts";
import { OutOfSubnetsError } from "../../src/lease/source.ts";
import { claimedSubnets, formatSubnetKey } from "../../src/lease/wire.ts";
import { addressToBigInt } from "../../src/net/address.ts";
import { familiesOf } from "../../src/net/family.ts";
import { isUnicastMac } from "../../src/net/mac.ts";
import { containsPrefix, formatPrefix, overlaps } from "../../src/net/prefix.ts";
import { address, leaseOf, macOf, NETWORK, networkOf, prefix, requestOf, seeded, snapshotOf } from "./samples.ts";

const first = () => 0;
const last = () => 0.999_999;
const subnetOf = (leases: readonly Lease[], request = requestOf(1), random = first) => {
  const { subnets } = chooseSubnets(NETWORK, snapshotOf(leases), request, random);
  return subnets[4] && formatPrefix(subnets[4]);
};

describe("a new subnet", () => {
  test("is one of the 100 lowest free ones, the network's first left out", () => {
    expect(subnetOf([])).toBe("10.244.1.0/24");
    expect(subnetOf([], requestOf(1), last)).toBe("10.244.100.0/24");
    const taken = Array.from({ length: 50 }, (_, i) => leaseOf(i + 100, `10.244.${2 * i + 1}.0/24`));
    expect(subnetOf(taken)).toBe("10.244.2.0/24");
    expect(subnetOf(taken, requestOf(1), last)).toBe("10.244.150.0/24");
  });

  test("keeps clear of leases of any size, and of keys whose record is rejected", () => {
    expect(subnetOf([leaseOf(5, "10.244.0.0/17"), leaseOf(6, "10.244.128.64/26")])).toBe("10.244.129.0/24");
    const rejected = ["10.244.1.0-24", "10.244.2.9-24", "10.244.0.0-22&garbage", "nothing"].map(
      (key): RejectedLease => ({ key, reason: "broken" }),
    );
    const { subnets } = chooseSubnets(NETWORK, { leases: [], rejected }, requestOf(1), first);
    expect(subnets).toEqual({ 4: prefix("10.244.4.0/24") });
  });

  test("there is none: the error names the range and how many leases there are", () => {
    const network = networkOf({ 4: { network: "10.1.0.0/24", length: 26 } });
    const leases = [leaseOf(5, "10.1.0.64/26"), leaseOf(6, "10.1.0.128/26"), leaseOf(7, "10.1.0.192/26")];
    const choose = () => chooseSubnets(network, snapshotOf(leases), requestOf(1), first);
    expect(choose).toThrow(OutOfSubnetsError);
    expect(choose).toThrow(
      "no /26 subnet is free from 10.1.0.64 to 10.1.0.192 in 10.1.0.0/24: 3 leases claim addresses",
    );
  });
});

describe("the previous subnet", () => {
  const asking = (previous: string) => requestOf(1, { previous: { 4: prefix(previous) } });

  test.each([
    ["10.244.77.0/24", "10.244.77.0/24"],
    // another length, the first one, another network
    ["10.244.77.0/25", "10.244.1.0/24"],
    ["10.244.0.0/24", "10.244.1.0/24"],
    ["10.245.77.0/24", "10.244.1.0/24"],
  ])("%s gives %s", (previous, expected) => {
    expect(subnetOf([], asking(previous))).toBe(expected);
  });

  test("is not given if a part of it is somebody's", () => {
    expect(subnetOf([leaseOf(5, "10.244.77.128/25")], asking("10.244.77.0/24"))).toBe("10.244.1.0/24");
  });

  test("stays in one family while the other gets its first", () => {
    const dual = networkOf({ 4: { network: "10.244.0.0/16" }, 6: { network: "fc00::/48" } });
    const { subnets } = chooseSubnets(dual, snapshotOf([]), asking("10.244.77.0/24"), first);
    expect(subnets).toEqual({ 4: prefix("10.244.77.0/24"), 6: prefix("fc00:0:0:1::/64") });
  });
});

describe("the own lease", () => {
  const own = leaseOf(1, "10.244.9.0/24", { node: "node-1" });
  const others = [leaseOf(2, "10.244.1.0/24"), leaseOf(3, "10.244.2.0/24")];
  const choose = (request = requestOf(1), leases: Lease[] = [...others, own], rejected: RejectedLease[] = []) =>
    chooseSubnets(NETWORK, { leases, rejected }, request, first);

  test("is taken back by the public address, before the previous subnet, with the published MAC", () => {
    const vteps = { 4: { vni: 1, mac: macOf(99) } };
    const choice = choose(requestOf(1, { node: "renamed", vteps, previous: { 4: prefix("10.244.50.0/24") } }));
    expect(choice).toEqual({
      subnets: own.subnets,
      attributes: { node: "renamed", publicIPs: own.publicIPs, backendType: "vxlan", vteps: own.vteps },
      reused: own,
      discarded: [],
    });
  });

  test("gets the proposed MAC with another VNI or backend type", () => {
    const mac = macOf(99);
    expect(choose(requestOf(1, { vteps: { 4: { vni: 2, mac } } })).attributes.vteps).toEqual({ 4: { vni: 2, mac } });
    const other = { ...own, backendType: "host-gw" };
    const request = requestOf(1, { vteps: { 4: { vni: 1, mac } } });
    expect(choose(request, [other]).attributes.vteps).toEqual({ 4: { vni: 1, mac } });
  });

  test("is taken back by the node's name if its address changed", () => {
    const moved = requestOf(1, { publicIPs: { 4: address("172.31.9.9") } });
    expect(choose(moved)).toMatchObject({
      reused: own,
      attributes: { publicIPs: { 4: "172.31.9.9" }, vteps: own.vteps },
    });
    const { node: _node, ...nameless } = moved;
    expect(choose(nameless).reused).toBeUndefined();
  });

  test("is taken back under its key if its address changed, unless it is another node's by now", () => {
    const { node: _node, ...moved } = requestOf(1, { publicIPs: { 4: address("172.31.9.9") }, held: own });
    expect(choose(moved)).toMatchObject({ reused: own, attributes: { publicIPs: moved.publicIPs, vteps: own.vteps } });
    expect(choose(moved).attributes).not.toHaveProperty("held");
    const theirs = leaseOf(7, "10.244.9.0/24");
    expect(choose(moved, [...others, theirs])).toMatchObject({ reused: undefined, discarded: [] });
  });

  test("that was overwritten by what is nobody's is written anew", () => {
    const previous = own.subnets;
    const broken = { key: own.key, reason: "broken" };
    const choice = choose(requestOf(1, { previous, held: own }), others, [broken]);
    expect(choice).toMatchObject({ subnets: previous, reused: undefined, discarded: [own.key] });
    expect(choose(requestOf(1, { previous }), others, [broken]).discarded).toEqual([]);
    const theirs = { ...broken, publicIPs: { 4: address("172.31.0.7") } };
    expect(choose(requestOf(1, { previous, held: own }), others, [theirs]).discarded).toEqual([]);
  });

  test("with that address is preferred to one with the name", () => {
    const second = leaseOf(4, "10.244.3.0/24", { node: "node-1" });
    expect(choose(requestOf(1), [second, own]).reused).toBe(own);
  });

  test("is discarded if it does not fit the network", () => {
    const narrow = leaseOf(1, "10.244.9.0/25");
    expect(choose(requestOf(1), [...others, narrow])).toMatchObject({
      subnets: { 4: prefix("10.244.3.0/24") },
      reused: undefined,
      discarded: [narrow.key],
    });
    const dual = { ...own, subnets: { ...own.subnets, 6: prefix("fc00::/64") } };
    expect(choose(requestOf(1), [dual])).toMatchObject({ reused: undefined, discarded: [own.key] });
  });

  test("is discarded if it was rejected, and its subnet can be had again", () => {
    const previous = { 4: prefix("10.244.9.0/24") };
    const key = "10.244.9.0-24";
    for (const whose of [{ node: "node-1" }, { publicIPs: own.publicIPs }]) {
      const choice = choose(requestOf(1, { previous }), others, [{ key, ...whose, reason: "broken" }]);
      expect(choice).toMatchObject({ subnets: previous, discarded: [key] });
    }
    const foreign = choose(requestOf(1, { previous }), others, [{ key, node: "node-7", reason: "broken" }]);
    expect(foreign).toMatchObject({ subnets: { 4: prefix("10.244.3.0/24") }, discarded: [] });
  });

  test("does not get a MAC that another node has", () => {
    const request = requestOf(7, { vteps: { 4: { vni: 1, mac: macOf(2) } } });
    // Even where the first ones picked at random are taken as well.
    const leases = [...others, leaseOf(0, "10.244.5.0/24")];
    const { vteps } = choose(request, leases).attributes;
    expect(vteps).toEqual({ 4: { vni: 1, mac: macOf(1) } });
    expect(vteps[4] && isUnicastMac(vteps[4].mac)).toBe(true);
  });
});

test("nodes that come one after the other get subnets in the range that do not overlap, the same for the same seed", () => {
  const anyRange = fc.record({
    length: fc.integer({ min: 22, max: 30 }),
    low: fc.integer({ min: 0, max: 1 }),
    high: fc.integer({ min: 0, max: 2 }),
    six: fc.boolean(),
    seed: fc.integer(),
    garbage: fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 20, max: 32 })), { maxLength: 6 }),
  });
  fc.assert(
    fc.property(anyRange, ({ length, low, high, six, seed, garbage }) => {
      const size = 2 ** (32 - length);
      const start = (10 << 24) + (1 << 16);
      const at = (offset: number) => [24, 16, 8, 0].map((shift) => ((start + offset) >>> shift) & 255).join(".");
      const network = networkOf({
        4: { network: "10.1.0.0/20", length, min: at(low * size), max: at(4096 - (high + 1) * size) },
        ...(six && { 6: { network: "fc00::/120", length: 122 + (length % 5) } }),
      });
      const rejected = garbage.map(([third, bits]) => ({ key: `10.1.${third}.0-${bits}`, reason: "broken" }));
      const run = () => {
        const random = seeded(seed);
        const leases: Lease[] = [];
        try {
          for (let n = 1; n <= 12; n++) {
            const { subnets, attributes } = chooseSubnets(network, { leases, rejected }, requestOf(n), random);
            leases.push({ ...attributes, key: formatSubnetKey(subnets), subnets });
          }
        } catch (error) {
          if (!(error instanceof OutOfSubnetsError)) throw error;
        }
        return leases;
      };
      const leases = run();
      expect(run()).toEqual(leases);
      const taken = rejected.flatMap(({ key }) => claimedSubnets(key));
      for (const { subnets } of leases) {
        expect(familiesOf(subnets)).toEqual(familiesOf(network.ranges));
        for (const family of familiesOf(subnets)) {
          const [subnet, range] = [subnets[family], network.ranges[family]];
          if (subnet === undefined || range === undefined) throw new Error("a family is missing");
          expect(subnet.length).toBe(range.subnetLength);
          expect(containsPrefix(range.network, subnet)).toBe(true);
          expect(addressToBigInt(subnet.address)).toBeGreaterThanOrEqual(addressToBigInt(range.subnetMin));
          expect(addressToBigInt(subnet.address)).toBeLessThanOrEqual(addressToBigInt(range.subnetMax));
          expect(taken.some((other) => overlaps(other, subnet))).toBe(false);
          taken.push(subnet);
        }
      }
    }),
    { numRuns: 200 },
  );
});

test("it gives out every subnet of the range before it runs out", () => {
  const network = networkOf({ 4: { network: "10.1.0.0/20", length: 27 } });
  const random = seeded(1);
  const leases: Lease[] = [];
  const next = () => chooseSubnets(network, snapshotOf(leases), requestOf(leases.length + 1), random);
  for (let n = 1; n <= 127; n++) {
    const { subnets, attributes } = next();
    leases.push({ ...attributes, key: formatSubnetKey(subnets), subnets });
  }
  expect(new Set(leases.map(({ key }) => key)).size).toBe(127);
  expect(next).toThrow(OutOfSubnetsError);
});
