import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Family } from "../../src/net/family.ts";
import type { ProbePeer } from "../../src/probe/engine.ts";
import { putPeers } from "../bench/peers.ts";
import { address, mac, prefix } from "../lease/samples.ts";
import { openStore } from "../support/agent.ts";
import type { Netns } from "../support/netns.ts";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { Vantage } from "./vantage.ts";

const FAMILIES: readonly Family[] = [4, 6];

/** A table of nftables for one test, in the hooks of packets that come in and that leave. */
async function withRule<T>(ns: Netns, hook: "input" | "output", rule: string, action: () => Promise<T>): Promise<T> {
  const chain = `{ type filter hook ${hook} priority -300; policy accept; ${rule}; }`;
  await ns.exec(["nft", `table inet probing { chain ${hook} ${chain}; }`]);
  try {
    return await action();
  } finally {
    await ns.exec(["nft", "delete table inet probing"]);
  }
}

describeInNamespaces("probes between real agents", () => {
  const overlay = new Overlay(useTemporaryFolder().path, FAMILIES);
  let vantage: Vantage;

  beforeAll(async () => {
    // Their own probes would be among what the tests count.
    await overlay.create(3, undefined, ["--probe-interval=0", "--ip-masq"]);
    await overlay.start();
    vantage = await Vantage.of(overlay, FAMILIES);
  });

  afterAll(() => {
    vantage[Symbol.dispose]();
    overlay[Symbol.dispose]();
  });

  test("find each other in the first round, with round-trip times, over IPv4 and IPv6", async () => {
    expect(await vantage.round()).toEqual(["n2 4+6: unknown to reachable", "n3 4+6: unknown to reachable"]);
    for (const node of ["n2", "n3"]) {
      for (const family of FAMILIES) {
        const { overlay: inside, underlay, fullSizePasses, fullBytes } = vantage.facts(node, family);
        for (const { sent, received, p50Ms = 0, p99Ms = 0, lastMs = 0 } of [inside, underlay]) {
          expect([sent, received]).toEqual([1, 1]);
          for (const rtt of [p50Ms, p99Ms, lastMs]) {
            expect(rtt).toBeGreaterThan(0);
            expect(rtt).toBeLessThan(1_000);
          }
        }
        expect([fullSizePasses, fullBytes]).toEqual([true, family === 4 ? 1450 : 1430]);
      }
    }
  });

  test("come from the VTEP's address, which the node's own rules do not masquerade", async () => {
    const { ns } = overlay.node(2);
    const sources = "set from4 { type ipv4_addr; flags dynamic; }; set from6 { type ipv6_addr; flags dynamic; }";
    await ns.exec(["nft", `table inet seen { ${sources}; }`]);
    const chain = [
      "icmp type echo-request add @from4 { ip saddr }",
      "icmpv6 type echo-request add @from6 { ip6 saddr }",
    ].join("; ");
    await ns.exec(["nft", `table inet seen { chain input { type filter hook input priority -300; ${chain}; }; }`]);
    try {
      expect(await vantage.round()).toEqual([]);
      const { ipv4, ipv6 } = await overlay.node(1).agent.lease();
      const seen = async (name: string) =>
        [...(await ns.exec(["nft", "list", "set", "inet", "seen", name])).matchAll(/[0-9a-f]+[.:][0-9a-f.:]+/g)]
          .map(String)
          .toSorted();
      const plain = (subnet: string) => subnet.replace(/\/\d+$/, "");
      expect(await seen("from4")).toEqual([plain(ipv4.subnet), "192.0.2.1"].toSorted());
      expect(await seen("from6")).toEqual([plain(ipv6.subnet), "2001:db8::1"].toSorted());
    } finally {
      await ns.exec(["nft", "delete table inet seen"]);
    }
  });

  test("tell within one round that VXLAN's port is blocked, and that it is not any more", async () => {
    for (const [hook, number] of [
      ["output", 1],
      ["input", 2],
    ] as const) {
      await withRule(overlay.node(number).ns, hook, "udp dport 8472 drop", async () => {
        const both = ["n2 4+6: reachable to overlayBlocked", "n3 4+6: reachable to overlayBlocked"];
        expect(await vantage.round()).toEqual(number === 1 ? both : both.slice(0, 1));
      });
      expect((await vantage.round()).map((change) => change.replace(/.* to /, ""))).toEqual(
        new Array(number === 1 ? 2 : 1).fill("reachable"),
      );
    }
  });

  test("take an underlay that filters ICMP for what it is", async () => {
    const filter = ["icmp", "icmpv6"].map((protocol) => `iifname "eth0" ${protocol} type echo-request drop`).join("; ");
    await withRule(overlay.node(2).ns, "input", filter, async () => {
      const before = vantage.facts("n2", 4).underlay;
      expect(await vantage.round()).toEqual([]);
      const { verdict, underlay } = vantage.facts("n2", 4);
      expect([verdict, underlay.sent - before.sent, underlay.received - before.received]).toEqual(["reachable", 5, 0]);
    });
    expect(await vantage.round()).toEqual([]);
  });

  test("tell within one round that a node is down, and that it is back", async () => {
    await overlay.cable(3, "down");
    expect(await vantage.round()).toEqual(["n3 4+6: reachable to unreachable"]);
    const { lastSuccessAt = 0, ...outage } = vantage.facts("n3", 4).overlay;
    expect(Date.now() - lastSuccessAt).toBeGreaterThan(1_000);
    expect(outage.sent - outage.received).toBeGreaterThanOrEqual(5);
    await overlay.cable(3, "up");
    expect(await vantage.round()).toEqual(["n3 4+6: unreachable to reachable"]);
    // The outage is over: its probes are no loss, but for what was sent just before the answer.
    expect(vantage.facts("n3", 4).overlay.sent).toBeLessThanOrEqual(2);
  });

  test("one packet that is lost is no outage", async () => {
    await withRule(
      overlay.node(1).ns,
      "input",
      "icmp type echo-reply limit rate 1/hour burst 1 packets drop",
      async () => {
        expect(await vantage.round()).toEqual([]);
      },
    );
  });

  test("tell a path that does not carry packets of full size from one that carries none", async () => {
    await overlay.cable(2, "mtu", "1400");
    expect(await vantage.round()).toEqual(["n2 4+6: reachable to mtuTooSmall"]);
    expect(vantage.facts("n2", 4)).toMatchObject({ fullSizePasses: false });
    expect(vantage.facts("n3", 4)).toMatchObject({ fullSizePasses: true });
    await overlay.cable(2, "mtu", "1500");
    expect(await vantage.round()).toEqual(["n2 4+6: mtuTooSmall to reachable"]);
    // What is only a byte too large is told, too.
    const whole = "udp dport 8472 meta length 1500 drop";
    await withRule(overlay.node(1).ns, "output", whole, async () => {
      expect(await vantage.round()).toEqual(["n2 4+6: reachable to mtuTooSmall", "n3 4+6: reachable to mtuTooSmall"]);
    });
    await vantage.round();
  });
});

describeInNamespaces("probes of a node among many", () => {
  const overlay = new Overlay(useTemporaryFolder().path, [4]);
  const quick = { step: 20, timeout: 200 };
  let ns: Netns;

  beforeAll(async () => {
    await overlay.create(2, undefined, ["--probe-interval=0"]);
    await overlay.start();
    ({ ns } = overlay.node(1));
  });

  afterAll(() => overlay[Symbol.dispose]());

  test("a loss of 30 % is measured as such, and told", async () => {
    using vantage = await Vantage.of(overlay, [4], quick);
    await vantage.round();
    const loss = 'iifname "flannel.1" icmp type echo-reply numgen random mod 100 < 30 drop';
    await withRule(ns, "input", loss, async () => {
      for (let rounds = 0; rounds < 500; rounds++) {
        await vantage.round();
        const { overlay: path, verdict } = vantage.facts("n2", 4);
        if (path.sent === 64 && verdict === "lossy") break;
      }
    });
    const { sent, received } = vantage.facts("n2", 4).overlay;
    expect(sent).toBe(64);
    // Four to five standard deviations to either side.
    expect(sent - received).toBeGreaterThanOrEqual(4);
    expect(sent - received).toBeLessThanOrEqual(37);
    const { underlay } = vantage.facts("n2", 4);
    expect(underlay.received).toBe(underlay.sent);
  });

  test("a node made by flannel's recipe, without any agent, answers", async () => {
    const host = await overlay.addHost(9);
    const { ipv4 } = await overlay.node(1).agent.lease();
    const [gateway = ""] = ipv4.subnet.split("/");
    const own = mac("02:00:00:00:00:09");
    for (const command of [
      `ip link add flannel.1 address ${own} mtu 1450 type vxlan id 1 local 192.0.2.9 dev eth0 dstport 8472 nolearning`,
      "ip address add 10.244.199.0/32 dev flannel.1",
      "ip link set flannel.1 up",
      `ip neighbour replace ${gateway} lladdr ${ipv4.vtepMAC} dev flannel.1 nud permanent`,
      `bridge fdb replace ${ipv4.vtepMAC} dev flannel.1 dst 192.0.2.1 self permanent`,
      `ip route replace ${ipv4.subnet} via ${gateway} dev flannel.1 onlink`,
    ]) {
      await host.exec(command.split(" "));
    }
    const peer = { key: "10.244.199.0-24", subnet: address("10.244.199.0"), publicIP: address("192.0.2.9"), mac: own };
    const store = openStore(overlay.store);
    putPeers(store, [peer]);
    store.close();
    await overlay.node(1).agent.settled(3);
    using vantage = await Vantage.of(overlay, [4], quick);
    vantage.peers = [{ key: peer.key, subnets: { 4: prefix("10.244.199.0/24") }, publicIPs: { 4: peer.publicIP } }];
    expect(await vantage.round()).toEqual(["10.244.199.0-24 4: unknown to reachable"]);
  });

  test("200 peers that do not exist: each is asked in four rounds, never more than 64 in one, by no more packets", async () => {
    using vantage = await Vantage.of(overlay, [4], quick);
    vantage.peers = Array.from({ length: 200 }, (_, number): ProbePeer => {
      const subnets = { 4: prefix(`10.244.${number}.0/24`) };
      return { key: `${number}`, subnets, publicIPs: { 4: address(`172.16.0.${number}`) } };
    });
    await ns.exec(["ip", "route", "add", "default", "via", "192.0.2.2"]);
    const rule = "ip daddr 172.16.0.0/24 icmp type echo-request add @asked { ip daddr } counter name sent";
    await ns.exec([
      "nft",
      `table inet asking { set asked { type ipv4_addr; flags dynamic; }; counter sent {}; chain output { type filter hook output priority -300; ${rule}; }; }`,
    ]);
    const asked = async () => {
      const found = (await ns.exec(["nft", "list", "set", "inet", "asking", "asked"])).match(/172\.16\.0\.\d+/g);
      return new Set(found ?? []);
    };
    const packets = async () => {
      const text = await ns.exec(["nft", "reset", "counter", "inet", "asking", "sent"]);
      return Number(/packets (\d+)/.exec(text)?.[1]);
    };
    let before = 0;
    for (let round = 1; round <= 4; round++) {
      await vantage.round();
      const { size } = await asked();
      expect(size - before).toBeGreaterThan(0);
      expect(size - before).toBeLessThanOrEqual(64);
      before = size;
      expect(await packets()).toBeLessThanOrEqual(64 * 5);
    }
    expect((await asked()).size).toBe(200);
    // Once it is known that nothing answers there.
    await vantage.round();
    expect(await packets()).toBeLessThanOrEqual(64 * 2);
  });

  test("the sockets get no other ICMP message, and are closed at the end", async () => {
    const sockets = async () =>
      (await ns.exec(["cat", "/proc/net/raw"])).split("\n").filter((line) => /^ *\d+: [0-9A-F]+:0001 /.test(line));
    {
      using vantage = await Vantage.of(overlay, [4], quick);
      await vantage.round();
      expect(await sockets()).toHaveLength(2);
      // Echo requests and answers of somebody else, who is in the same place.
      await ns.exec(["ping", "-n", "-c", "20", "-i", "0.01", "192.0.2.2"]);
      await overlay.node(2).ns.exec(["ping", "-n", "-c", "20", "-i", "0.01", "192.0.2.1"]);
      // proc_net_raw: the fifth field has the bytes that wait.
      for (const line of await sockets()) expect(line.trim().split(/\s+/)[4]).toBe("00000000:00000000");
      await vantage.round();
      expect(await sockets()).toHaveLength(2);
    }
    expect(await sockets()).toEqual([]);
  });
});
