import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Lease } from "../../src/lease/lease.ts";
import { LeaseLostError, type LeaseRequest, type LeaseSource, OutOfSubnetsError } from "../../src/lease/source.ts";
import { encodeAttributes } from "../../src/lease/wire.ts";
import { type Family, familiesOf } from "../../src/net/family.ts";
import type { Mac } from "../../src/net/mac.ts";
import { containsPrefix, overlaps } from "../../src/net/prefix.ts";
import { expectUsually } from "../support/usual-time.ts";
import { eventually } from "../support/wait.ts";
import { Follower } from "./follower.ts";
import {
  attributesOf,
  forFamilies,
  keyOf,
  macOf,
  networkOf,
  networkWith,
  prefix,
  requestOf,
  subnetText,
} from "./samples.ts";

/** One store, made for one test. The optional parts say what the kind of store can do; what can't be done is not tested. */
export interface StoreUnderTest extends AsyncDisposable {
  /** one more client of the store */
  open(): LeaseSource;
  /** What must be there before node `n` can take a lease (Kubernetes: its Node object). */
  prepare?(n: number): Promise<void>;
  /** takes a record out of the store behind everybody's back */
  remove(key: string): Promise<void>;
  /** where subnets are given out by the drivers, and records are kept in flannel's wire form */
  readonly allocating?: {
    putRaw(key: string, value: string): Promise<void>;
    clear(): Promise<void>;
  };
  /** where leases end by time: lets so much of it pass for all clients */
  readonly expiry?: { readonly ttlMs: number; pass(ms: number): Promise<void> };
}

export interface Capabilities {
  readonly allocating: boolean;
  readonly expiring: boolean;
}

const NAMES: Readonly<Record<string, string>> = { "4": "IPv4", "6": "IPv6", "4,6": "both families" };

/**
 * What every driver must do, in a network of these families. `create` makes an empty store.
 * @param families of the sample network; IPv4 first
 */
export function leaseSourceContract(
  kind: string,
  { allocating, expiring }: Capabilities,
  create: () => Promise<StoreUnderTest>,
  families: readonly Family[] = [4],
): void {
  const name = `${kind}, ${NAMES[families.join()]}`;
  const network = networkWith(families);
  const attributes = (n: number) => attributesOf(n, families);
  const vtepsWith = (vni: number, mac: Mac) => forFamilies(families, () => ({ vni, mac }));
  const subnetsOf = (n: number) =>
    forFamilies(families, (family) => prefix(subnetText(family, n).replace(/-(\d+)$/, "/$1")));
  const keyWith = (n: number) => keyOf(families, (family) => subnetText(family, n));
  const never = new AbortController().signal;
  let store: StoreUnderTest;
  const opened: LeaseSource[] = [];
  const followers: Follower[] = [];

  beforeEach(async () => {
    store = await create();
  });

  afterEach(async () => {
    for (const follower of followers.splice(0)) await follower[Symbol.asyncDispose]();
    for (const source of opened.splice(0)) source.close();
    await store[Symbol.asyncDispose]();
  });

  function open(): LeaseSource {
    const source = store.open();
    opened.push(source);
    return source;
  }

  function follow(source = open(), of = network): Follower {
    const follower = new Follower(source, of);
    followers.push(follower);
    return follower;
  }

  async function acquire(n: number, changes: Partial<LeaseRequest> = {}, source = open()): Promise<Lease> {
    await store.prepare?.(n);
    return source.acquire(requestOf(n, changes, families), network, never);
  }

  const raw = () => {
    if (store.allocating === undefined) throw new Error("the store under test lacks what it claims to have");
    return store.allocating;
  };
  const time = () => {
    if (store.expiry === undefined) throw new Error("the store under test lacks what it claims to have");
    return store.expiry;
  };

  describe(`${name}: a lease`, () => {
    test("is what the node asked for, with a subnet of the network", async () => {
      const lease = await acquire(1);
      expect(lease).toMatchObject({
        publicIPs: attributes(1).publicIPs,
        backendType: "vxlan",
        vteps: attributes(1).vteps,
      });
      expect(familiesOf(lease.subnets)).toEqual([...families]);
      for (const family of families) {
        const [range, subnet] = [network.ranges[family]?.network, lease.subnets[family]];
        expect(range && subnet && containsPrefix(range, subnet)).toBe(true);
      }
    });

    test("stays the node's when it comes again, with the MAC that is published", async () => {
      const lease = await acquire(1);
      const again = await acquire(1, { vteps: vtepsWith(1, macOf(99)) });
      expect(again).toMatchObject({ key: lease.key, subnets: lease.subnets, vteps: lease.vteps });
    });

    test("publishes what the node says when it says something else", async () => {
      const source = open();
      const lease = await acquire(1, {}, source);
      const follower = follow();
      const vteps = vtepsWith(7, macOf(99));
      expect(await acquire(1, { vteps }, source)).toMatchObject({ key: lease.key, subnets: lease.subnets, vteps });
      await follower.until("the new VTEP", ({ leases }) =>
        families.every((family) => leases[0]?.vteps[family]?.vni === 7),
      );
      expect(follower.latest?.leases).toMatchObject([{ key: lease.key, vteps }]);
    });

    test("can be renewed while it is there", async () => {
      const source = open();
      const lease = await acquire(1, {}, source);
      expect(await source.renew(lease, never)).toMatchObject({ key: lease.key, subnets: lease.subnets });
      await store.remove(lease.key);
      await expect(source.renew(lease, never)).rejects.toThrow(LeaseLostError);
    });

    test("is not taken for a node that gave up", async () => {
      const source = open();
      const reason = new Error("given up");
      await store.prepare?.(1);
      await expect(source.acquire(requestOf(1, {}, families), network, AbortSignal.abort(reason))).rejects.toBe(reason);
      expect((await follow().until("any snapshot", () => true)).leases).toEqual([]);
    });
  });

  describe(`${name}: a watch`, () => {
    test("begins with all that is there, one's own lease included", async () => {
      const source = open();
      const own = await acquire(1, {}, source);
      const leases = [own, await acquire(2), await acquire(3)];
      const snapshot = await follow(source).until("the first snapshot", () => true);
      // Not every kind of store tells the times of another node's lease.
      const withoutTimes = ({ createdAt: _createdAt, expiresAt: _expiresAt, ...lease }: Lease) => lease;
      expect(snapshot.leases.map(withoutTimes)).toEqual(
        leases.map(withoutTimes).toSorted((a, b) => (a.key < b.key ? -1 : 1)),
      );
      expect(snapshot.leases).toContainEqual(own);
      expect(snapshot.rejected).toEqual([]);
      expect(source.contact.error).toBeUndefined();
      expect(source.contact.lastContactAt).toBeNumber();
    });

    test("of an empty store begins as well", async () => {
      expect(await follow().until("the first snapshot", () => true)).toMatchObject({ leases: [], rejected: [] });
    });

    test("tells the others of each change in 300 ms", async () => {
      const source = open();
      const follower = follow();
      await follower.untilKeys([]);
      await expectUsually(300, async () => {
        const taken: number[] = [];
        const keys: string[] = [];
        for (let n = 1; n <= 5; n++) {
          keys.push((await acquire(n, {}, source)).key);
          const start = performance.now();
          await follower.untilKeys(keys);
          taken.push(performance.now() - start);
        }
        for (const key of keys) {
          await store.remove(key);
          const start = performance.now();
          await follower.until("that it is gone", ({ leases }) => !leases.some((lease) => lease.key === key));
          taken.push(performance.now() - start);
        }
        return taken;
      });
    });

    test("keeps the objects of leases that did not change", async () => {
      const source = open();
      const follower = follow(source);
      const [one, two] = [await acquire(1), await acquire(2)];
      const before = await follower.untilKeys([one.key, two.key]);
      const three = await acquire(3);
      const after = await follower.untilKeys([one.key, two.key, three.key]);
      for (const lease of before.leases) expect(after.leases).toContain(lease);
    });

    test("gives a slow reader the latest, not each one in between", async () => {
      const stop = new AbortController();
      const slow = open().watch(network, stop.signal)[Symbol.asyncIterator]();
      expect((await slow.next()).value).toMatchObject({ leases: [] });
      const source = open();
      for (let n = 1; n <= 20; n++) await acquire(n, {}, source);
      await follow(source).until("all 20 leases", ({ leases }) => leases.length === 20);
      let reads = 0;
      for (let count = 0; count < 20; reads++) count = (await slow.next()).value?.leases.length ?? 20;
      // One may have been on its way when the reader fell asleep.
      expect(reads).toBeLessThanOrEqual(2);
      stop.abort();
      expect((await slow.next()).done).toBe(true);
    });

    test("ends when it is aborted, or before it began, and when the source is closed", async () => {
      const source = open();
      const follower = follow(source);
      await follower.untilKeys([]);
      await follower[Symbol.asyncDispose]();
      expect(follower.ended).toBe(true);
      const early = source.watch(network, AbortSignal.abort())[Symbol.asyncIterator]();
      expect((await early.next()).done).toBe(true);
      const closed = follow(source);
      await closed.untilKeys([]);
      source.close();
      await eventually(() => closed.ended, { within: 10_000, what: "the watch ends with its source" });
    });
  });

  describe.if(allocating)(`${name}: subnets`, () => {
    test("are given as before if nobody else has them", async () => {
      const previous = subnetsOf(200);
      expect((await acquire(1, { previous })).key).toBe(keyWith(200));
      const { subnets } = await acquire(2, { previous });
      for (const family of families) expect(subnets[family]).not.toEqual(previous[family] ?? prefix("::/0"));
    });

    test.if(families.length > 1)("of a family that the lease lacks are added to those that it keeps", async () => {
      const narrow = networkWith([4]);
      const wide = networkWith([4, 6]);
      const source = open();
      const lease = await source.acquire(requestOf(1), narrow, never);
      const both = await source.acquire(requestOf(1, { previous: lease.subnets }, [4, 6]), wide, never);
      expect(both.subnets[4]).toEqual(lease.subnets[4] ?? prefix("::/0"));
      expect(both.subnets[6]).toBeDefined();
      const { leases, rejected } = await follow(source, wide).until("a snapshot", () => true);
      expect([leases.map(({ key }) => key), rejected]).toEqual([[both.key], []]);
    });

    test("are never given twice, however many nodes start at once", async () => {
      const leases = await Promise.all(Array.from({ length: 50 }, (_, n) => acquire(n + 1)));
      const subnets = leases.flatMap((lease) => Object.values(lease.subnets));
      for (const [i, subnet] of subnets.entries()) {
        expect(subnets.slice(i + 1).filter((other) => overlaps(subnet, other))).toEqual([]);
      }
      const snapshot = await follow().untilKeys(leases.map(({ key }) => key));
      expect(snapshot.rejected).toEqual([]);
    });

    test("run out, and the error says of what", async () => {
      const smallest = { 4: { network: "10.244.0.0/24", length: 26 }, 6: { network: "fd00:10:244::/62", length: 64 } };
      const small = networkOf(forFamilies(families, (family) => smallest[family]));
      const source = open();
      const leases: Lease[] = [];
      for (let n = 1; n <= 3; n++) leases.push(await source.acquire(requestOf(n, {}, families), small, never));
      const fourth = () => source.acquire(requestOf(4, {}, families), small, never);
      await expect(fourth()).rejects.toThrow(OutOfSubnetsError);
      await expect(fourth()).rejects.toThrow(
        families.includes(4) ? "10.244.0.64 to 10.244.0.192" : "fd00:10:244:1:: to fd00:10:244:3::",
      );
      expect(source.contact.error).toBeUndefined();
      await store.remove(leases[1]?.key ?? "");
      expect((await fourth()).key).toBe(leases[1]?.key ?? "");
    });

    test("of a lease that does not fit a changed network are given up", async () => {
      const source = open();
      const lease = await acquire(1, {}, source);
      const other = { 4: { network: "10.99.0.0/16" }, 6: { network: "fd00:99::/48" } };
      const changed = networkOf(forFamilies(families, (family) => other[family]));
      const moved = await source.acquire(requestOf(1, { previous: lease.subnets }, families), changed, never);
      for (const family of families) {
        const subnet = moved.subnets[family];
        expect(subnet && containsPrefix(prefix(other[family].network), subnet)).toBe(true);
      }
      expect((await follow(source, changed).until("a snapshot", () => true)).rejected).toEqual([]);
    });
  });

  describe.if(allocating)(`${name}: records of others`, () => {
    test("that make no sense are rejected with a reason while the good ones go on", async () => {
      const good = await acquire(1);
      const follower = follow();
      const outside = { 4: "10.245.0.0-24", 6: "fd00:10:245::-64" };
      const withHostBits = { 4: "10.244.217.5-24", 6: "fd00:10:244:d9::5-64" };
      const group = encodeAttributes(attributes(16)).replaceAll(/"VtepMAC":"02/g, '"VtepMAC":"01');
      const garbage: Readonly<Record<string, string>> = {
        [keyWith(210)]: "",
        [keyWith(211)]: "\0\u{1f980} not JSON",
        [keyWith(212)]: "null",
        [keyWith(213)]: "{}",
        [keyWith(214)]: '{"PublicIP":"x","PublicIPv6":"x","BackendType":"vxlan"}',
        [keyWith(215)]: group,
        [keyWith(216)]: encodeAttributes(attributes(1)),
        [keyOf(families, (family) => withHostBits[family])]: encodeAttributes(attributes(17)),
        [keyOf(families, (family) => outside[family])]: encodeAttributes(attributes(18)),
        "not-a-subnet": encodeAttributes(attributes(19)),
      };
      for (const [key, value] of Object.entries(garbage)) await raw().putRaw(key, value);
      const isRight = ({ rejected }: { rejected: readonly unknown[] }) => rejected.length === 10;
      const snapshot = await follower.until("ten rejected records", isRight);
      expect(snapshot.leases).toMatchObject([{ key: good.key }]);
      expect(snapshot.rejected.map(({ key }) => key).sort()).toEqual(Object.keys(garbage).sort());
      for (const { reason } of snapshot.rejected) expect(reason).not.toBe("");
      // What they name is nobody's to give away, and the next node gets something else.
      const next = await acquire(2, { previous: subnetsOf(210) });
      expect(Object.keys(garbage)).not.toContain(next.key);
      await follower.untilKeys([good.key, next.key]);
    });

    test("of another backend type are leases without a VTEP", async () => {
      const follower = follow();
      await follower.untilKeys([]);
      await raw().putRaw(keyWith(5), encodeAttributes({ ...attributes(1), backendType: "host-gw", vteps: {} }));
      const { leases } = await follower.untilKeys([keyWith(5)]);
      expect(leases).toMatchObject([{ backendType: "host-gw", vteps: {}, publicIPs: attributes(1).publicIPs }]);
    });

    test("over our own are noticed: the lease is lost, and can be taken anew", async () => {
      const source = open();
      const lease = await acquire(1, {}, source);
      await raw().putRaw(lease.key, encodeAttributes(attributes(2)));
      await expect(source.renew(lease, never)).rejects.toThrow(LeaseLostError);
      const again = await acquire(1, { previous: lease.subnets }, source);
      expect(again.key).not.toBe(lease.key);
      await raw().putRaw(again.key, "garbage");
      await expect(source.renew(again, never)).rejects.toThrow(LeaseLostError);
    });

    test("may all vanish: the snapshot is empty, and the lease can be taken with the subnet of before", async () => {
      const source = open();
      const lease = await acquire(1, {}, source);
      const follower = follow(source);
      await follower.untilKeys([lease.key]);
      await raw().clear();
      await follower.untilKeys([]);
      expect((await acquire(1, { previous: lease.subnets }, source)).key).toBe(lease.key);
      await follower.untilKeys([lease.key]);
    });
  });

  describe.if(expiring)(`${name}: time`, () => {
    test("takes a lease that is not renewed out of the snapshots, and its subnet is free again", async () => {
      const source = open();
      const [stale, kept] = [await acquire(1), await acquire(2, {}, source)];
      const follower = follow();
      await follower.untilKeys([stale.key, kept.key]);
      for (let pause = 0; pause < 4; pause++) {
        await time().pass(time().ttlMs * 0.3);
        const renewed = await source.renew(kept, never);
        expect(renewed.expiresAt ?? 0).toBeGreaterThan(kept.expiresAt ?? Number.POSITIVE_INFINITY);
        expect(renewed.createdAt).toBe(kept.createdAt);
      }
      await follower.untilKeys([kept.key]);
      expect((await acquire(3, { previous: stale.subnets })).key).toBe(stale.key);
      await follower.untilKeys([stale.key, kept.key]);
    });

    test("gives a lease that is taken again a whole life", async () => {
      const lease = await acquire(1);
      await time().pass(time().ttlMs * 0.5);
      expect((await acquire(1)).expiresAt ?? 0).toBeGreaterThan(lease.expiresAt ?? Number.POSITIVE_INFINITY);
    });
  });
}
