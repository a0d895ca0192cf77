import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import type { Event, EventKind } from "../../src/api/events.ts";
import { makePeers, putPeers } from "../bench/peers.ts";
import { openStore } from "../support/agent.ts";
import { describeWithEtcd, EtcdServer } from "../support/etcd.ts";
import type { Netns } from "../support/netns.ts";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

describeInNamespaces("events of a running agent", () => {
  const overlay = new Overlay(useTemporaryFolder().path);
  let ns: Netns;

  beforeAll(async () => {
    await overlay.create(3, { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } }, ["--ip-masq"]);
    ns = overlay.node(1).ns;
    await Promise.all([1, 2].map((number) => overlay.node(number).agent.start()));
    await overlay.node(1).agent.settled(2);
  });

  afterAll(() => overlay[Symbol.dispose]());

  const events = (...kinds: readonly EventKind[]): Promise<Event[]> => overlay.node(1).agent.events(...kinds);
  const lastId = async (): Promise<number> => (await events()).at(-1)?.id ?? 0;

  /** Waits for an event of a kind after another one. */
  const next = (kind: EventKind, after: number, isMeant: (event: Event) => boolean = () => true): Promise<Event> =>
    eventually(async () => (await events(kind)).find((event) => event.id > after && isMeant(event)), {
      within: 10_000,
      what: `an event ${kind}`,
    });

  test("a start is told step by step", async () => {
    const kinds = (await events()).map(({ kind }) => kind);
    const steps: readonly EventKind[] = ["started", "interfaceChanged", "ownLease", "programmed", "ready"];
    expect(kinds.filter((kind, at) => steps.includes(kind) && kinds.indexOf(kind) === at)).toEqual([...steps]);
    expect(kinds).toContain("rulesWritten");
    expect((await events("leasesChanged"))[0]).toMatchObject({ message: expect.stringMatching(/^[12] leases? read$/) });
    expect((await events("ownLease"))[0]).toMatchObject({ node: "n1", durationMs: expect.any(Number) });
    expect((await events("ready"))[0]?.durationMs).toBeGreaterThan(0);
  });

  test("a node that comes: its lease, and what was programmed for it", async () => {
    const before = await lastId();
    await overlay.node(3).agent.start();
    const added = await next("leaseAdded", before);
    expect(added).toMatchObject({ node: "n3", message: expect.stringContaining("192.0.2.3") });
    const programmed = await next("programmed", added.id);
    expect(programmed).toMatchObject({ cause: "leases changed", message: expect.stringContaining("1 route-replace") });
    expect(programmed.durationMs).toBeGreaterThan(0);
  });

  test("a route that is deleted: what was found, and that it is back", async () => {
    const subnet = (await overlay.node(2).agent.lease()).ipv4.subnet;
    const before = await lastId();
    await ns.exec(["ip", "route", "del", subnet]);
    const found = await next("driftFound", before);
    expect(found).toMatchObject({ level: "warning", message: `route ${subnet} deleted` });
    const repaired = await next("repaired", found.id);
    expect(repaired.message).toBe(`1 route-replace: replace route ${subnet}: it is missing`);
    expect(repaired.cause).toBe(`route ${subnet} deleted`);
    expect(repaired.durationMs).toBeGreaterThan(0);
  });

  test("the device deleted: found by what goes first, and repaired", async () => {
    const before = await lastId();
    await ns.exec(["ip", "link", "del", "flannel.1"]);
    expect((await next("driftFound", before)).message).toContain("deleted");
    expect((await next("repaired", before, ({ message }) => message.includes("link-add"))).durationMs).toBeGreaterThan(
      0,
    );
    await overlay.node(1).agent.settled(3);
  });

  test("rules that are flushed are repaired, and the event says how many", async () => {
    const before = await lastId();
    await ns.exec(["iptables", "-t", "nat", "-F", "FLANNEL-POSTRTG"]);
    const repaired = await next("rulesRepaired", before);
    expect(repaired).toMatchObject({ message: expect.stringMatching(/^mended the rules of 10\.0\.0\.0\/8 by /) });
    expect(repaired.durationMs).toBeGreaterThan(0);
  });

  test("another MTU of the external interface", async () => {
    const before = await lastId();
    await ns.exec(["ip", "link", "set", "eth0", "mtu", "1400"]);
    expect(await next("interfaceChanged", before)).toMatchObject({
      message: expect.stringContaining("MTU 1400"),
      cause: "it was eth0, MTU 1500",
    });
    await ns.exec(["ip", "link", "set", "eth0", "mtu", "1500"]);
    await overlay.node(1).agent.settled(3);
  });

  test("a store that is out of order and in order again", async () => {
    const before = await lastId();
    const content = readFileSync(overlay.store);
    const spoiltAt = performance.now();
    writeFileSync(overlay.store, "no database at all");
    const lost = await next("sourceLost", before);
    expect(lost).toMatchObject({ level: "warning", message: `embedded ${overlay.store}`, cause: expect.any(String) });
    writeFileSync(overlay.store, content);
    const back = await next("sourceBack", lost.id);
    expect(back.durationMs).toBeGreaterThan(0);
    expect(back.durationMs).toBeLessThanOrEqual(performance.now() - spoiltAt);
  });

  test("a resync that is asked for reads the kernel again; the log level changes and is told", async () => {
    const { agent } = overlay.node(1);
    expect(statSync(agent.debugSocket).mode & 0o777).toBe(0o600);
    const { fullReads } = (await agent.state()).reconcile;
    const before = await lastId();
    expect((await agent.command("/debug/resync", { method: "POST" })).ok).toBe(true);
    await next("resyncAsked", before);
    await eventually(async () => (await agent.state()).reconcile.fullReads > fullReads, {
      within: 15_000,
      what: "the kernel's state is read again",
    });
    const body = (level: string) => ({
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ level }),
    });
    expect((await agent.command("/debug/log-level", body("trace"))).ok).toBe(true);
    expect((await next("logLevelChanged", before)).message).toBe("the log level is trace now, it was info");
    await ns.exec(["ip", "route", "flush", "dev", "flannel.1"]);
    await eventually(() => agent.log.includes(" TRACE "), { within: 15_000, what: "the log tells of each operation" });
    expect((await agent.command("/debug/log-level", body("info"))).ok).toBe(true);
    await agent.settled(3);
  });

  test("somebody who undoes it again and again fills the events with few, and leaves those of before", async () => {
    const { agent } = overlay.node(1);
    const subnet = (await overlay.node(2).agent.lease()).ipv4.subnet;
    const before = await events();
    const { driftsFound } = (await agent.state()).reconcile;
    const script = `while :; do ip route del ${subnet} 2>/dev/null; done`;
    const spoiler = ns.spawn(["sh", "-c", script], { stdout: "ignore", stderr: "ignore" });
    try {
      await eventually(async () => (await agent.state()).reconcile.driftsFound >= driftsFound + 50, {
        within: 20_000,
        what: "50 repairs",
      });
    } finally {
      spoiler.kill("SIGKILL");
      await spoiler.exited;
    }
    await agent.settled(3);
    const repairs = (list: readonly Event[]) => list.filter(({ kind }) => kind === "repaired");
    const times = (list: readonly Event[]) => repairs(list).reduce((sum, event) => sum + event.times, 0);
    const after = await eventually(
      async () => {
        const list = await events();
        return times(list) - times(before) >= 50 ? list : undefined;
      },
      { within: 15_000, what: "50 repairs are told" },
    );
    expect(after.filter(({ id }) => id <= (before.at(-1)?.id ?? 0)).map(({ id }) => id)).toEqual(
      before.map(({ id }) => id),
    );
    expect(repairs(after).length - repairs(before).length).toBeLessThan(20);
  });

  test("5,000 leases at once are one event", async () => {
    const before = await lastId();
    using store = openStore(overlay.store);
    putPeers(store, makePeers());
    await overlay.node(1).agent.settled(5003, 60_000);
    const told = (await events("leaseAdded", "leasesChanged")).filter(({ id }) => id > before);
    expect(told.map(({ message }) => message)).toEqual(["5,000 added; there are 5,003 leases"]);
  }, 120_000);
});

describeInNamespaces("an agent with its leases in etcd", () => {
  describeWithEtcd("of its own network", () => {
    afterAll(async () => {
      await etcd?.[Symbol.asyncDispose]();
      overlay[Symbol.dispose]();
    });

    const overlay = new Overlay(useTemporaryFolder().path);
    let etcd: EtcdServer;

    test("tells when etcd is away, and for how long it was when it is back", async () => {
      await overlay.create(0);
      etcd = await EtcdServer.start({ place: { ns: await overlay.addHost(250), address: "192.0.2.250" } });
      await etcd.ctl(["put", "/coreos.com/network/config", '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}']);
      overlay.leases = [`--etcd-endpoints=${etcd.endpoint}`];
      const { agent } = await overlay.addNode(1);
      await agent.start();
      expect(await agent.events("sourceLost", "sourceBack")).toEqual([]);
      await etcd.signal("SIGKILL");
      const [lost] = await eventually(
        async () => {
          const found = await agent.events("sourceLost");
          return found.length > 0 ? found : undefined;
        },
        { within: 20_000, what: "it is told that etcd is away" },
      );
      expect(lost).toMatchObject({
        message: expect.stringContaining("etcd http"),
        cause: expect.stringMatching(/refused|closed|reset/i),
      });
      await etcd.restart();
      await eventually(async () => (await agent.events("sourceBack")).length > 0, {
        within: 20_000,
        what: "it is told that etcd is back",
      });
      const [back, ...more] = await agent.events("sourceBack");
      expect(more).toEqual([]);
      expect(back?.durationMs).toBeGreaterThan(0);
      expect((await agent.events("sourceLost", "sourceBack")).map(({ kind }) => kind)).toEqual([
        "sourceLost",
        "sourceBack",
      ]);
    });
  });
});
