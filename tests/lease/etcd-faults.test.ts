import { afterEach, expect, test } from "bun:test";
import { type EtcdOptions, openEtcd } from "../../src/lease/etcd.ts";
import type { Lease, Snapshot } from "../../src/lease/lease.ts";
import type { LeaseSource } from "../../src/lease/source.ts";
import { encodeAttributes } from "../../src/lease/wire.ts";
import { base64, describeWithEtcd, EtcdServer, startCluster } from "../support/etcd.ts";
import { TcpRelay } from "../support/tcp-relay.ts";
import { eventually } from "../support/wait.ts";
import { Follower } from "./follower.ts";
import { address, attributesOf, NETWORK, requestOf } from "./samples.ts";

const never = new AbortController().signal;
const PREFIX = "/coreos.com/network";
/** milliseconds */
const QUICK = { heartbeatMs: 300, requestMs: 2000 };

describeWithEtcd("etcd in bad times", () => {
  const opened: LeaseSource[] = [];

  afterEach(() => {
    for (const source of opened.splice(0)) source.close();
  });

  function open(endpoints: readonly string[], options: Partial<EtcdOptions> = {}): LeaseSource {
    const source = openEtcd({ endpoints, prefix: PREFIX, ...QUICK, ...options });
    opened.push(source);
    return source;
  }

  function onlyOf({ leases: [lease, ...others] }: Snapshot): Lease {
    if (lease === undefined || others.length > 0) throw new Error("there should be one lease");
    return lease;
  }

  /** Writes node `n`'s lease behind everybody's back. */
  async function put(server: EtcdServer, n: number): Promise<string> {
    const key = `10.244.${n}.0-24`;
    const value = base64(encodeAttributes(attributesOf(n)));
    await server.post("kv/put", { key: base64(`${PREFIX}/subnets/${key}`), value });
    return key;
  }

  const inTrouble = (source: LeaseSource) =>
    eventually(() => source.contact.error, { within: 20_000, what: "the source is out of contact" });
  const inContact = (source: LeaseSource) =>
    eventually(() => source.contact.error === undefined, { within: 20_000, what: "the source is in contact" });

  test("a member that is killed: another one takes over, for the watch and for leases", async () => {
    const members = await startCluster(3);
    try {
      const [first, second, third] = members;
      if (first === undefined || second === undefined || third === undefined) throw new Error("no cluster");
      const source = open([first.endpoint, second.endpoint, third.endpoint]);
      await using follower = new Follower(source);
      const lease = await source.acquire(requestOf(1), NETWORK, never);
      const before = await follower.untilKeys([lease.key]);
      await first.signal("SIGKILL");
      // A write waits for the election, and gives up if that takes long.
      const putOnce = (member: EtcdServer, n: number) =>
        eventually(() => put(member, n), { within: 30_000, what: "a member takes a write" });
      const keys = [lease.key, await putOnce(second, 200)];
      const after = await follower.untilKeys(keys, 20_000);
      expect(after.leases.includes(onlyOf(before))).toBe(true);
      // The election may still be going on.
      await eventually(() => source.renew(lease, never), { within: 20_000, what: "the lease is renewed" });
      await inContact(source);

      // Without a majority the third one must not go on with what it knows.
      await second.signal("SIGKILL");
      expect((await inTrouble(source)).message).toContain("no etcd endpoint answers");
      await first.restart();
      await inContact(source);
      await follower.untilKeys([...keys, await putOnce(first, 201)], 20_000);
    } finally {
      for (const member of members) await member[Symbol.asyncDispose]();
    }
  });

  test("a server that is killed and comes back: the watch goes on, and what did not change is the same", async () => {
    await using server = await EtcdServer.start();
    const source = open([server.endpoint]);
    await using follower = new Follower(source);
    const first = await put(server, 1);
    const before = await follower.untilKeys([first]);
    await server.signal("SIGKILL");
    const cause = `etcd ${server.endpoint}: watch: connection refused`;
    const isTold = () => source.contact.error?.message.includes(cause);
    await eventually(isTold, { within: 20_000, what: "the cause is told" });
    const { lastContactAt } = source.contact;
    expect(lastContactAt).toBeNumber();
    const { count } = follower;
    await server.restart();
    await inContact(source);
    expect(follower.count).toBe(count);
    const after = await follower.untilKeys([first, await put(server, 2)]);
    expect(after.leases.includes(onlyOf(before))).toBe(true);
    expect(source.contact.lastContactAt).toBeGreaterThan(lastContactAt ?? Number.POSITIVE_INFINITY);
  });

  /** How far beyond the first change that we missed; at that change itself etcd forgets a deletion without a word. */
  test.each([0, 1])("compacted past our revision by %d: all is listed again", async (further) => {
    await using server = await EtcdServer.start();
    using relay = new TcpRelay(server.port);
    const source = open([`http://127.0.0.1:${relay.port}`]);
    await using follower = new Follower(source);
    const [gone, stays] = [await put(server, 1), await put(server, 2)];
    const before = await follower.untilKeys([gone, stays]);
    relay.cut();
    await inTrouble(source);
    await server.post("kv/deleterange", { key: base64(`${PREFIX}/subnets/${gone}`) });
    const added = await put(server, 3);
    // The revisions: 1 of an empty etcd, two leases, the deletion.
    await server.post("kv/compaction", { revision: `${4 + further}`, physical: true });
    relay.mend();
    const after = await follower.untilKeys([stays, added]);
    expect(after.leases.some((lease) => lease.key === stays && before.leases.includes(lease))).toBe(true);
    await inContact(source);
  });

  test("a server that lost its data is not the same store, though it takes the same place", async () => {
    await using server = await EtcdServer.start();
    const source = open([server.endpoint]);
    await using follower = new Follower(source);
    const keys = [await put(server, 1), await put(server, 2), await put(server, 3)];
    await follower.untilKeys(keys);
    await server.signal("SIGKILL");
    await server.wipe();
    await server.restart();
    await follower.untilKeys([], 20_000);
    await follower.untilKeys([await put(server, 4)]);
  });

  test("a server that hangs is found out, and it is told when it is back", async () => {
    await using server = await EtcdServer.start();
    const source = open([server.endpoint]);
    await using follower = new Follower(source);
    const key = await put(server, 1);
    await follower.untilKeys([key]);
    await server.signal("SIGSTOP");
    const { message } = await inTrouble(source);
    expect(message).toContain("no answer within 2 s");
    const stop = new AbortController();
    const renewal = source.acquire(requestOf(5), NETWORK, stop.signal);
    await expect(renewal).rejects.toThrow("no answer within 2 s");
    await server.signal("SIGCONT");
    await inContact(source);
    await follower.untilKeys([key, await put(server, 2)]);
  });

  test("a connection that is only half there is found out, though the server is well", async () => {
    await using server = await EtcdServer.start();
    using relay = new TcpRelay(server.port);
    const source = open([`http://127.0.0.1:${relay.port}`]);
    await using follower = new Follower(source);
    await follower.untilKeys([]);
    relay.stall();
    const key = await put(server, 1);
    await follower.untilKeys([key]);
    await inContact(source);
  });

  test("a connection that does not tell what we write is given up, long before it would be found silent", async () => {
    await using server = await EtcdServer.start();
    using relay = new TcpRelay(server.port);
    const source = open([`http://127.0.0.1:${relay.port}`], { heartbeatMs: 60_000, requestMs: 5000 });
    await using follower = new Follower(source);
    const held = await source.acquire(requestOf(1), NETWORK, never);
    await follower.untilKeys([held.key]);
    relay.stall();
    const moved = { 4: address("198.51.100.1") };
    await source.acquire(requestOf(1, { publicIPs: moved, held }), NETWORK, never);
    const isTold = ({ leases }: Snapshot) => leases.length === 1 && leases[0]?.publicIPs[4] === moved[4];
    expect(onlyOf(await follower.until("what was written", isTold)).key).toBe(held.key);
    await inContact(source);
    await follower.untilKeys([held.key, await put(server, 200)]);
  });

  test("connections that break again and again: nothing is missed", async () => {
    await using server = await EtcdServer.start();
    using relay = new TcpRelay(server.port);
    const source = open([`http://127.0.0.1:${relay.port}`]);
    await using follower = new Follower(source);
    const keys: string[] = [];
    for (let n = 1; n <= 20; n++) {
      relay.cut();
      keys.push(await put(server, n));
      relay.mend();
      if (n % 5 === 0) await follower.untilKeys(keys, 20_000);
    }
    await inContact(source);
  });

  test("a watch that is aborted while the server hangs ends at once", async () => {
    await using server = await EtcdServer.start();
    const source = open([server.endpoint], { requestMs: 60_000, heartbeatMs: 60_000 });
    const follower = new Follower(source);
    await follower.untilKeys([]);
    await server.signal("SIGSTOP");
    const other = new Follower(source);
    await follower[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
    expect([follower.ended, other.ended]).toEqual([true, true]);
    await server.signal("SIGCONT");
  });

  test("an acquisition whose answer is lost does not leave a second lease behind", async () => {
    await using server = await EtcdServer.start();
    using relay = new TcpRelay(server.port);
    const source = open([`http://127.0.0.1:${relay.port}`]);
    await source.acquire(requestOf(1), NETWORK, never);
    const attempts = Array.from({ length: 10 }, async (_, i) => {
      const taken = source.acquire(requestOf(i + 2), NETWORK, never);
      if (i % 3 === 0) relay.cut();
      relay.mend();
      return taken.catch(() => undefined);
    });
    await Promise.all(attempts);
    for (let n = 1; n <= 11; n++) await source.acquire(requestOf(n), NETWORK, never);
    await using follower = new Follower(source);
    const { leases, rejected } = await follower.until("a snapshot", () => true);
    expect(rejected).toEqual([]);
    expect(leases).toHaveLength(11);
  });
});
