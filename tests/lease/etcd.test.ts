import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { LeaseKeeper } from "../../src/lease/keeper.ts";
import type { Lease } from "../../src/lease/lease.ts";
import { LeaseLostError, type LeaseSource } from "../../src/lease/source.ts";
import { encodeAttributes } from "../../src/lease/wire.ts";
import { base64, describeWithEtcd, type EtcdServer, useEtcd } from "../support/etcd.ts";
import { eventually } from "../support/wait.ts";
import { EtcdSample } from "./etcd-sample.ts";
import { Follower } from "./follower.ts";
import { address, attributesOf, macOf, NETWORK, networkOf, prefix, requestOf } from "./samples.ts";

const never = new AbortController().signal;
const HOUR = 3_600_000;
const DAY = { ttlSeconds: 86_400 };

describeWithEtcd("etcd", () => {
  const etcd = useEtcd();
  let server: EtcdServer;
  let sample: EtcdSample;
  let source: LeaseSource;

  beforeAll(async () => {
    server = await etcd.start();
  });

  beforeEach(() => {
    sample = new EtcdSample(server, DAY);
    source = sample.open();
  });

  afterEach(async () => {
    source.close();
    await sample[Symbol.asyncDispose]();
  });

  const acquire = (n: number, changes: Parameters<typeof requestOf>[1] = {}, from = source): Promise<Lease> =>
    from.acquire(requestOf(n, changes), NETWORK, never);

  /** What etcdctl shows of a key behind the prefix. */
  async function stored(key: string) {
    const json = await server.ctl(["get", `${sample.prefix}/${key}`, "--write-out=json", "--hex=false"]);
    const lease = /"lease":(\d+)/.exec(json)?.[1] ?? "0";
    const value = /"value":"([^"]*)"/.exec(json)?.[1];
    const modRevision = Number(/"mod_revision":(\d+)/.exec(json)?.[1]);
    return value === undefined ? undefined : { value: Buffer.from(value, "base64").toString(), lease, modRevision };
  }

  async function grant(seconds: number): Promise<string> {
    return String((await server.post("lease/grant", { TTL: `${seconds}` }))["ID"]);
  }

  /** The whole life of an etcd lease and what is left of it, in seconds. */
  async function lifeOf(id: string): Promise<{ granted: number; left: number }> {
    const { grantedTTL, TTL } = await server.post("lease/timetolive", { ID: id });
    return { granted: Number(grantedTTL), left: Number(TTL) };
  }

  describe("the network's configuration", () => {
    test("is awaited: the error has the command that writes it", async () => {
      const error = await source.settings(never).catch((error: unknown) => error);
      const [, command = ""] = /write it with: etcdctl (put .*)$/.exec(String(error)) ?? [];
      expect(command).toStartWith(`put ${sample.prefix}/config '{`);
      const [, key = "", value = ""] = /^put (\S+) '(.*)'$/.exec(command) ?? [];
      await server.ctl(["put", key, value]);
      const { network, warnings } = await source.settings(never);
      expect(network.ranges).toEqual(NETWORK.ranges);
      expect(warnings).toEqual([]);
    });

    test.each([
      ["not JSON", "{", "is not complete JSON"],
      ["too small", '{"Network":"10.244.0.0/30","Backend":{"Type":"vxlan"}}', "Network"],
      ["with few subnets", '{"Network":"10.244.0.0/16","SubnetLen":17,"Backend":{"Type":"vxlan"}}', "SubnetLen"],
      ["of another backend", '{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}', "host-gw"],
    ])("that is %s is refused, the key and the field named", async (_, text, says) => {
      await sample.put("config", text);
      const message = String(await source.settings(never).catch((error: unknown) => error));
      expect(message).toContain(`${sample.prefix}/config: `);
      expect(message).toContain(says);
    });

    test("has warnings for what is ignored", async () => {
      await sample.put("config", '{"Network":"10.244.0.0/16","Subnet":1,"Backend":{"Type":"vxlan"}}');
      expect((await source.settings(never)).warnings).toEqual([expect.stringContaining("Subnet")]);
    });
  });

  describe("keys and values are flannel's", () => {
    test("byte for byte, on an etcd lease of 24 hours", async () => {
      const before = Date.now();
      const lease = await acquire(3, { previous: { 4: prefix("10.244.20.0/24") } });
      const record = await stored("subnets/10.244.20.0-24");
      expect(record?.value).toBe(
        '{"PublicIP":"172.31.0.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:03"}}',
      );
      const { granted, left } = await lifeOf(record?.lease ?? "");
      expect(granted).toBe(86_400);
      expect(left).toBeWithin(86_300, 86_401);
      expect(lease.createdAt).toBeWithin(before, Date.now() + 1);
      expect(lease.expiresAt).toBeWithin(before + 24 * HOUR, Date.now() + 24 * HOUR + 1);
      expect(lease.node).toBeUndefined();
    });

    test("a prefix may end with a slash or not", async () => {
      const other = sample.open({ prefix: `${sample.prefix}//` });
      const lease = await acquire(1, {}, other);
      other.close();
      expect(await stored(`subnets/${lease.key}`)).toBeDefined();
    });

    test("the lease that flannel's documentation shows is read", async () => {
      await sample.put(
        "subnets/10.5.52.0-24",
        '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
        await grant(100),
      );
      await using follower = new Follower(source, networkOf({ 4: { network: "10.5.0.0/16" } }));
      const { leases } = await follower.untilKeys(["10.5.52.0-24"]);
      expect(leases[0]).toMatchObject({
        publicIPs: { 4: "192.168.64.3" },
        backendType: "vxlan",
        vteps: { 4: { vni: 1, mac: "c6:d2:32:6f:8f:44" } },
        subnets: { 4: prefix("10.5.52.0/24") },
      });
      // It is another node's: nobody asked etcd when it ends.
      expect(leases[0]?.expiresAt).toBeUndefined();
    });

    test("what is beside the leases is none", async () => {
      await sample.put("subnets", "x");
      await sample.put("subnets-of-old/10.244.7.0-24", encodeAttributes(attributesOf(7)));
      await sample.put("config", "{}");
      await using follower = new Follower(source);
      expect(await follower.untilKeys([])).toMatchObject({ rejected: [] });
    });
  });

  describe("a lease that is there already", () => {
    test("as flanneld left it: it is taken over with its etcd lease, from now on for its whole life", async () => {
      const id = await grant(1000);
      const value = encodeAttributes({ ...attributesOf(1), vteps: { 4: { vni: 1, mac: macOf(77) } } });
      await sample.put("subnets/10.244.9.0-24", value, id);
      const before = await stored("subnets/10.244.9.0-24");
      expect(before?.value).toBe(value);
      const lease = await acquire(1);
      expect(lease).toMatchObject({ key: "10.244.9.0-24", vteps: { 4: { mac: macOf(77) } } });
      expect(lease.createdAt).toBeUndefined();
      expect(lease.expiresAt).toBeWithin(Date.now() + 900_000, Date.now() + 1_000_001);
      // Nothing to write, so nobody is told of anything.
      expect(await stored("subnets/10.244.9.0-24")).toEqual(before);
    });

    test("that says something else: it is written, and keeps its etcd lease", async () => {
      const id = await grant(1000);
      await sample.put(
        "subnets/10.244.9.0-24",
        encodeAttributes({ ...attributesOf(1), backendType: "udp", vteps: {} }),
        id,
      );
      await acquire(1);
      expect(await stored("subnets/10.244.9.0-24")).toMatchObject({
        value: encodeAttributes(attributesOf(1)),
        lease: id,
      });
    });

    test("a reservation is kept and updated without a life", async () => {
      await sample.put("subnets/10.244.31.0-24", '{"PublicIP":"172.31.0.1","BackendType":"vxlan"}');
      const lease = await acquire(1);
      expect(lease).toMatchObject({ key: "10.244.31.0-24", vteps: attributesOf(1).vteps });
      expect(lease.expiresAt).toBeUndefined();
      expect(await source.renew(lease, never)).toEqual(lease);
      expect(await stored("subnets/10.244.31.0-24")).toMatchObject({
        value: encodeAttributes(attributesOf(1)),
        lease: "0",
      });
    });

    test("outside the network: it is deleted as the new one is written", async () => {
      await sample.put("subnets/10.99.1.0-24", encodeAttributes(attributesOf(1)), await grant(1000));
      await using follower = new Follower(source);
      await follower.until("the old lease is rejected", ({ rejected }) => rejected.length === 1);
      const lease = await acquire(1);
      const snapshot = await follower.untilKeys([lease.key]);
      expect(snapshot.rejected).toEqual([]);
    });

    test("unreadable, under the subnet of before: it is written over", async () => {
      await sample.put(
        "subnets/10.244.8.0-24",
        '{"PublicIP":"172.31.0.1","BackendType":"vxlan","BackendData":{"VNI":"x"}}',
      );
      const lease = await acquire(1, { previous: { 4: prefix("10.244.8.0/24") } });
      expect(lease.key).toBe("10.244.8.0-24");
      expect(lease.expiresAt).toBeDefined();
      expect((await stored("subnets/10.244.8.0-24"))?.lease).not.toBe("0");
    });
  });

  test("nodes that all want the same subnet get one each, and no etcd lease is left over", async () => {
    const leasesOf = async () => (await server.ctl(["lease", "list"])).trim().split("\n").slice(1).sort();
    const before = await leasesOf();
    const sources = Array.from({ length: 8 }, () => sample.open({ random: () => 0 }));
    const leases = await Promise.all(sources.map((each, i) => acquire(i + 1, {}, each)));
    for (const each of sources) each.close();
    expect(leases.map(({ key }) => key).sort()).toEqual(Array.from({ length: 8 }, (_, i) => `10.244.${i + 1}.0-24`));
    expect((await leasesOf()).length - before.length).toBe(8);
  });

  describe("renewing", () => {
    test("extends the etcd lease and writes nothing", async () => {
      const lease = await acquire(1);
      const before = await stored(`subnets/${lease.key}`);
      await using follower = new Follower(source);
      await follower.untilKeys([lease.key]);
      const renewed = await source.renew(lease, never);
      expect(renewed.expiresAt ?? 0).toBeGreaterThanOrEqual(lease.expiresAt ?? Number.POSITIVE_INFINITY);
      expect(await stored(`subnets/${lease.key}`)).toEqual(before);
      const isKnown = () => follower.latest?.leases[0]?.expiresAt === renewed.expiresAt;
      await eventually(isKnown, { within: 20_000, what: "the snapshot has the new end" });
    });

    test("comes soon if somebody bound the key to another etcd lease", async () => {
      const lease = await acquire(1);
      await using follower = new Follower(source);
      await follower.untilKeys([lease.key]);
      await sample.put(`subnets/${lease.key}`, encodeAttributes(attributesOf(1)), await grant(500));
      const { leases } = await follower.until(
        "an early end",
        ({ leases }) => (leases[0]?.expiresAt ?? 0) <= Date.now(),
      );
      const [changed = lease] = leases;
      expect((await source.renew(changed, never)).expiresAt).toBeWithin(Date.now() + 400_000, Date.now() + 500_001);
    });

    test("is over when an administrator made the lease a reservation", async () => {
      const lease = await acquire(1);
      await using follower = new Follower(source);
      await follower.untilKeys([lease.key]);
      await server.ctl(["put", `${sample.prefix}/subnets/${lease.key}`, encodeAttributes(attributesOf(1))]);
      const { leases } = await follower.until("no end", ({ leases }) => leases[0]?.expiresAt === undefined);
      expect(await source.renew(leases[0] ?? lease, never)).not.toHaveProperty("expiresAt");
    });
  });

  describe("a lease that somebody took away", () => {
    test.each(["revoked", "deleted"])("%s: the keeper ends, and says why", async (how) => {
      const fatal: Error[] = [];
      const keeper = new LeaseKeeper({
        source,
        network: NETWORK,
        renewMarginMinutes: 60,
        onFatal: (e) => fatal.push(e),
      });
      keeper.start(requestOf(1));
      const stop = new AbortController();
      const watching = (async () => {
        for await (const snapshot of source.watch(NETWORK, stop.signal)) keeper.observe(snapshot);
      })();
      const { key } = await eventually(() => keeper.own, { within: 20_000, what: "the lease" });
      const { lease: id = "" } = (await stored(`subnets/${key}`)) ?? {};
      if (how === "revoked") await server.post("lease/revoke", { ID: id });
      else await server.ctl(["del", `${sample.prefix}/subnets/${key}`]);
      const error = await eventually(() => fatal[0], { within: 20_000, what: "the keeper gives up" });
      expect(error).toBeInstanceOf(LeaseLostError);
      expect(error.message).toBe(
        `lease ${key} is gone from etcd: its key was deleted, or its etcd lease was revoked or has run out`,
      );
      // It is not taken again by this process.
      expect(await stored(`subnets/${key}`)).toBeUndefined();
      stop.abort();
      await watching;
    });
  });

  describe("values that nobody can read", () => {
    test("leave themselves out, and nobody else", async () => {
      const lease = await acquire(1);
      await using follower = new Follower(source);
      const garbage: Readonly<Record<string, string>> = {
        "10.244.201.0-24": "not JSON",
        "10.244.202.0-24": '{"VNI":"x"}',
        "10.244.203.0-24": '{"PublicIP":"172.31.1.1","BackendType":"vxlan","BackendData":{"VNI":"x"}}',
        "10.244.204.0-24": "",
        "": "an empty key",
      };
      for (const [key, value] of Object.entries(garbage)) await sample.put(`subnets/${key}`, value);
      // Neither key nor value are UTF-8.
      const key = Buffer.concat([Buffer.from(`${sample.prefix}/subnets/`), Buffer.from([0xff, 0xfe])]);
      await server.post("kv/put", { key: key.toString("base64"), value: Buffer.from([0xff]).toString("base64") });
      const isComplete = ({ rejected }: { rejected: readonly unknown[] }) => rejected.length === 6;
      const { leases, rejected } = await follower.until("six rejected records", isComplete);
      expect(leases.map(({ key }) => key)).toEqual([lease.key]);
      for (const { reason } of rejected) expect(reason).not.toBe("");
      expect((await acquire(2)).key).not.toBe(lease.key);
    });
  });

  test("what changes nothing is not told", async () => {
    await sample.put("subnets/10.244.9.0-24", encodeAttributes(attributesOf(9)));
    await using follower = new Follower(source);
    await follower.untilKeys(["10.244.9.0-24"]);
    const { count } = follower;
    await sample.put("subnets/10.244.9.0-24", encodeAttributes(attributesOf(9)));
    await sample.put("config", "beside the leases");
    await sample.put("subnets/10.244.10.0-24", encodeAttributes(attributesOf(10)));
    await follower.untilKeys(["10.244.10.0-24", "10.244.9.0-24"]);
    expect(follower.count).toBe(count + 1);
  });

  test("of two leases with one public address the older wins", async () => {
    await sample.put("subnets/10.244.9.0-24", encodeAttributes(attributesOf(1)));
    await sample.put(
      "subnets/10.244.2.0-24",
      encodeAttributes({ ...attributesOf(2), publicIPs: { 4: address("172.31.0.1") } }),
    );
    // A newer value does not make a record younger.
    await sample.put(
      "subnets/10.244.9.0-24",
      encodeAttributes({ ...attributesOf(1), vteps: { 4: { vni: 1, mac: macOf(5) } } }),
    );
    await using follower = new Follower(source);
    const { rejected } = await follower.untilKeys(["10.244.9.0-24"]);
    expect(rejected).toMatchObject([{ key: "10.244.2.0-24" }]);
  });

  test("5,000 leases", async () => {
    const put = (n: number) => ({
      request_put: {
        key: base64(`${sample.prefix}/subnets/10.${n >> 8}.${n & 255}.0-24`),
        value: base64(encodeAttributes(attributesOf(n))),
      },
    });
    for (let from = 256; from < 5256; from += 100) {
      await server.post("kv/txn", { success: Array.from({ length: 100 }, (_, i) => put(from + i)) });
    }
    const start = performance.now();
    await using follower = new Follower(source, networkOf({ 4: { network: "10.0.0.0/8", length: 24 } }));
    const { leases, rejected } = await follower.until("a snapshot", () => true);
    console.error(`5,000 leases read from etcd in ${(performance.now() - start).toFixed(0)} ms`);
    expect(rejected).toEqual([]);
    expect(leases).toHaveLength(5000);
    expect(new Set(leases.map(({ publicIPs }) => publicIPs[4])).size).toBe(5000);
    // One change among them costs one message.
    await sample.delete("subnets/10.1.0.0-24");
    expect((await follower.until("one less", ({ leases }) => leases.length < 5000)).leases).toHaveLength(4999);
  });
});
