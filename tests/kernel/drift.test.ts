import { expect, test } from "bun:test";
import { routeProtocol } from "../../src/desired/route-protocol.ts";
import type { Family } from "../../src/net/family.ts";
import { exampleMac, examplePublicIP, exampleSubnet } from "../desired/examples.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { desiredOn, KernelNode, summaryOf } from "./real-kernel.ts";

const SEEN_MS = 10_000;

interface Drift {
  readonly what: string;
  /** each a command line */
  readonly commands: readonly string[];
  /** whether the device can only be made anew */
  readonly rebuilt?: true;
  /** a route that is not ours to remove, as ip shows it */
  readonly stays?: string;
}

const ONE = exampleSubnet(4, 1);
const TWO = exampleSubnet(4, 2);
const to = (n: 1 | 2) => `${exampleSubnet(4, n).address}/24`;
const viaOf = (n: 1 | 2) => `via ${exampleSubnet(4, n).address} dev flannel.1 onlink`;
const own1 = `proto ${routeProtocol(ONE)}`;

const drifts: readonly Drift[] = [
  { what: "all routes flushed", commands: ["ip route flush dev flannel.1"] },
  { what: "all neighbours flushed", commands: ["ip neighbour flush dev flannel.1 nud permanent"] },
  { what: "a neighbour deleted", commands: [`ip neighbour delete ${ONE.address} dev flannel.1`] },
  {
    what: "a neighbour with another MAC",
    commands: [`ip neighbour replace ${ONE.address} lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent`],
  },
  {
    what: "a neighbour that ages",
    commands: [`ip neighbour replace ${ONE.address} lladdr ${exampleMac(4, 1)} dev flannel.1 nud stale`],
  },
  {
    what: "a permanent neighbour that no lease has",
    commands: ["ip neighbour add 10.244.77.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent"],
  },
  { what: "a forwarding entry deleted", commands: [`bridge fdb delete ${exampleMac(4, 1)} dev flannel.1`] },
  {
    what: "a forwarding entry pointed elsewhere",
    commands: [`bridge fdb replace ${exampleMac(4, 1)} dev flannel.1 dst 198.18.9.9`],
  },
  {
    what: "a forwarding entry with a port of its own",
    commands: [`bridge fdb replace ${exampleMac(4, 1)} dev flannel.1 dst ${examplePublicIP(4, 1)} port 4789`],
  },
  {
    what: "a forwarding entry that points to a next hop group",
    commands: [
      "ip nexthop replace id 5 via 198.18.0.9 fdb",
      "ip nexthop replace id 6 group 5 fdb",
      `bridge fdb delete ${exampleMac(4, 1)} dev flannel.1`,
      `bridge fdb add ${exampleMac(4, 1)} dev flannel.1 nhid 6`,
    ],
  },
  {
    what: "forwarding entries that no lease has",
    commands: [
      "bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 198.18.0.9",
      "bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 198.18.0.10 port 4789",
      "bridge fdb add 02:00:00:00:00:99 dev flannel.1 dst 198.18.0.9 vni 7 port 99",
    ],
  },
  { what: "a route deleted", commands: [`ip route delete ${to(1)}`] },
  { what: "a route replaced by one through another device", commands: [`ip route replace ${to(1)} dev eth0`] },
  { what: "a route replaced by one through another peer", commands: [`ip route replace ${to(1)} ${viaOf(2)} ${own1}`] },
  { what: "a route replaced by a blackhole", commands: [`ip route replace blackhole ${to(1)}`] },
  { what: "a route without our protocol number", commands: [`ip route replace ${to(1)} ${viaOf(1)}`] },
  { what: "a foreign route before ours", commands: [`ip route prepend ${to(1)} dev eth0`] },
  {
    what: "foreign routes before and behind ours, with the first one replaced",
    commands: [
      `ip route prepend ${to(1)} dev eth0`,
      `ip route append ${to(1)} via 198.18.0.77`,
      `ip route replace ${to(1)} via 198.18.0.78`,
    ],
    stays: "10.244.2.0/24 via 198.18.0.77 dev eth0",
  },
  {
    what: "routes of ours that no lease has",
    commands: [
      "ip route add 10.244.77.0/24 via 10.244.77.0 dev flannel.1 onlink proto 113",
      "ip route add 172.16.0.0/24 dev eth0 proto 127",
    ],
  },
  {
    what: "what flanneld left for a node that is gone",
    commands: ["ip route add 10.244.77.0/24 via 10.244.77.0 dev flannel.1 onlink"],
  },
  { what: "the device set down", commands: ["ip link set flannel.1 down"] },
  { what: "the device set down and up at once", commands: ["ip link set flannel.1 down", "ip link set flannel.1 up"] },
  { what: "another MAC", commands: ["ip link set flannel.1 address 02:00:00:00:00:98"] },
  { what: "another MTU", commands: ["ip link set flannel.1 mtu 1400"] },
  { what: "learning", commands: ["ip link set flannel.1 type vxlan learning"] },
  {
    what: "MTU and learning at once",
    commands: ["ip link set flannel.1 mtu 1300", "ip link set flannel.1 type vxlan learning"],
  },
  { what: "another local address", commands: ["ip link set flannel.1 type vxlan local 198.18.0.99"] },
  { what: "no mark", commands: ["ip link set flannel.1 alias somebody's"] },
  { what: "the address deleted", commands: ["ip address delete 10.244.1.0/32 dev flannel.1"] },
  { what: "all addresses flushed", commands: ["ip address flush dev flannel.1"] },
  {
    what: "the address with another length",
    commands: ["ip address delete 10.244.1.0/32 dev flannel.1", "ip address add 10.244.1.0/24 dev flannel.1"],
  },
  { what: "a second address of the network", commands: ["ip address add 10.244.5.0/32 dev flannel.1"] },
  { what: "the device deleted", commands: ["ip link delete flannel.1"], rebuilt: true },
  {
    what: "the device renamed",
    commands: ["ip link set flannel.1 down", "ip link set flannel.1 name flannel.old", "ip link set flannel.old up"],
    rebuilt: true,
  },
  {
    what: "the device replaced by one of another VNI",
    commands: ["ip link delete flannel.1", "ip link add flannel.1 type vxlan id 9 dstport 8472 local 198.18.0.1"],
    rebuilt: true,
  },
  {
    what: "the device replaced by one of another kind",
    commands: ["ip link delete flannel.1", "ip link add flannel.1 type bridge", "ip link set flannel.1 up"],
    rebuilt: true,
  },
];

const via6 = (n: number) => `via ${exampleSubnet(6, n).address} dev flannel-v6.1 onlink`;
const SIX = `${exampleSubnet(6, 1).address}/64`;

const drifts6: readonly Drift[] = [
  { what: "all routes flushed", commands: ["ip -6 route flush dev flannel-v6.1 proto all"] },
  { what: "all neighbours flushed", commands: ["ip -6 neighbour flush dev flannel-v6.1 nud permanent"] },
  {
    what: "a neighbour with another MAC",
    commands: [
      `ip neighbour replace ${exampleSubnet(6, 1).address} lladdr 02:00:00:00:00:99 dev flannel-v6.1 nud permanent`,
    ],
  },
  {
    what: "a permanent neighbour that no lease has",
    commands: ["ip neighbour add fd00:10:244:77:: lladdr 02:00:00:00:00:99 dev flannel-v6.1 nud permanent"],
  },
  { what: "a forwarding entry deleted", commands: [`bridge fdb delete ${exampleMac(6, 1)} dev flannel-v6.1`] },
  {
    what: "a forwarding entry pointed elsewhere",
    commands: [`bridge fdb replace ${exampleMac(6, 1)} dev flannel-v6.1 dst fd00:18::99`],
  },
  {
    what: "forwarding entries that no lease has",
    commands: [
      "bridge fdb append 00:00:00:00:00:00 dev flannel-v6.1 dst fd00:18::9",
      "bridge fdb add 02:00:00:00:00:99 dev flannel-v6.1 dst fd00:18::9 vni 7 port 99",
    ],
  },
  { what: "a route deleted", commands: [`ip -6 route delete ${SIX}`] },
  { what: "a route replaced by one through another device", commands: [`ip -6 route replace ${SIX} dev eth0`] },
  { what: "a route replaced by one through another peer", commands: [`ip -6 route replace ${SIX} ${via6(2)}`] },
  { what: "a route replaced by a blackhole", commands: [`ip -6 route replace blackhole ${SIX}`] },
  {
    what: "a foreign route of several next hops in its place",
    commands: [
      `ip -6 route delete ${SIX}`,
      `ip -6 route add ${SIX} via fd00:18::77`,
      `ip -6 route append ${SIX} via fd00:18::78`,
    ],
  },
  { what: "a route that became one of several next hops", commands: [`ip -6 route append ${SIX} ${via6(2)}`] },
  {
    what: "a route that became the other one of several next hops",
    commands: [`ip -6 route append ${SIX} via fd00:18::77`, `ip -6 route delete ${SIX} ${via6(1)}`],
  },
  { what: "a route of ours that no lease has", commands: ["ip -6 route add fd00:10:244:77::/64 dev eth0 proto 113"] },
  {
    what: "what flanneld left for a node that is gone",
    commands: ["ip -6 route add fd00:10:244:77::/64 via fd00:10:244:77:: dev flannel-v6.1 onlink"],
  },
  { what: "the device set down", commands: ["ip link set flannel-v6.1 down"] },
  {
    what: "the device set down and up at once",
    commands: ["ip link set flannel-v6.1 down", "ip link set flannel-v6.1 up"],
  },
  { what: "another MAC", commands: ["ip link set flannel-v6.1 address 02:00:00:00:00:98"] },
  { what: "another MTU", commands: ["ip link set flannel-v6.1 mtu 1400"] },
  { what: "an MTU too small for IPv6", commands: ["ip link set flannel-v6.1 mtu 1200"] },
  { what: "another local address", commands: ["ip link set flannel-v6.1 type vxlan local fd00:18::99"] },
  { what: "no mark", commands: ["ip link set flannel-v6.1 alias somebody's"] },
  { what: "all addresses flushed", commands: ["ip -6 address flush dev flannel-v6.1"] },
  {
    what: "the address with another length",
    commands: [
      "ip address delete fd00:10:244:1::/128 dev flannel-v6.1",
      "ip address add fd00:10:244:1::/64 dev flannel-v6.1 nodad",
    ],
  },
  { what: "a second address of the network", commands: ["ip address add fd00:10:244:5::/128 dev flannel-v6.1 nodad"] },
  { what: "the address deleted", commands: ["ip address delete fd00:10:244:1::/128 dev flannel-v6.1"] },
  {
    what: "IPv6 switched off on the device",
    commands: [
      "sysctl -qw net/ipv6/conf/flannel-v6.1/disable_ipv6=1",
      "sysctl -qw net/ipv6/conf/flannel-v6.1/disable_ipv6=0",
    ],
  },
  { what: "the device deleted", commands: ["ip link delete flannel-v6.1"], rebuilt: true },
];

/** Makes each drift in turn, and expects it to be seen and mended before the next. */
async function expectMended(families: readonly Family[], name: string, list: readonly Drift[]): Promise<void> {
  await using node = await KernelNode.create(families);
  const desired = desiredOn(node, families, [1, 2, 3]);
  const expected = summaryOf(desired);
  const link = async () => (await node.link(name))?.ifindex;
  await node.reconcile(desired);
  let index = await link();
  for (const { what, commands, rebuilt, stays } of list) {
    for (const command of commands) await node.ns.exec(command.split(" "));
    await eventually(() => node.drifts.length > 0, { within: SEEN_MS, what: `${what} is seen` });
    await node.told();
    const report = await node.reconcile(desired);
    expect([what, report.settled, report.failed]).toEqual([what, true, []]);
    expect([what, await node.summary(desired)]).toEqual([what, expected]);
    if (stays !== undefined) expect(await node.ip("route", "show")).toContain(stays);
    const after = await link();
    if (rebuilt) expect([what, after]).not.toEqual([what, index]);
    else expect([what, after]).toEqual([what, index]);
    index = after;
  }
  expect(await node.ip("route", "show", "default")).toContain("via 198.18.0.100");
}

describeInNamespaces("on the real kernel, what somebody changed is seen by the watch and mended", () => {
  test("each by itself, and the device stays unless it has to be made anew", () =>
    expectMended([4], "flannel.1", drifts));

  test("of IPv6, each by itself", () => expectMended([4, 6], "flannel-v6.1", drifts6));

  test.each([
    ["IPv4", 4, "flannel.1", drifts],
    ["IPv6", 6, "flannel-v6.1", drifts6],
  ] as const)("of %s, all at once", async (_, family, name, list) => {
    await using node = await KernelNode.create([family]);
    const desired = desiredOn(node, [family], [1, 2, 3]);
    await node.reconcile(desired);
    const index = (await node.link(name))?.ifindex;
    for (const { commands, rebuilt } of list) {
      if (rebuilt) continue;
      // Some of them need what others have removed.
      for (const command of commands) await node.ns.exec(command.split(" ")).catch(() => {});
    }
    await node.told();
    await eventually(() => node.drifts.length > 0, { within: SEEN_MS, what: "the drift is seen" });
    await eventually(async () => (await node.reconcile(desired)).settled, { within: SEEN_MS, what: "all is mended" });
    expect(await node.summary(desired)).toEqual(summaryOf(desired));
    expect((await node.link(name))?.ifindex).toBe(index ?? 0);
  });

  test("also while the change goes on, until nobody undoes it any more", async () => {
    await using node = await KernelNode.create();
    const desired = desiredOn(node, [4], [1, 2, 3]);
    await node.reconcile(desired);
    const script = "for i in $(seq 40); do ip route flush dev flannel.1; ip link set flannel.1 down; done";
    const spoiler = node.ns.spawn(["sh", "-c", script], { stdout: "ignore", stderr: "ignore" });
    while (spoiler.exitCode === null) {
      await node.reconcile(desired);
      await new Promise(setImmediate);
    }
    await node.told();
    await eventually(async () => (await node.reconcile(desired)).settled, { within: SEEN_MS, what: "all is mended" });
    expect(await node.summary(desired)).toEqual(summaryOf(desired));
  });

  test("and what makes no difference is not called drift", async () => {
    await using node = await KernelNode.create();
    const desired = desiredOn(node, [4], [1, 2, 3]);
    await node.reconcile(desired);
    const before = node.interfaceChanges;
    const harmless = [
      `ip route append ${to(1)} dev eth0`,
      `ip route add ${to(1)} dev eth0 metric 7`,
      "ip route add 10.96.0.0/12 dev eth0",
      "ip route add 10.244.200.0/24 dev eth0",
      `ip route add ${TWO.address}/32 dev eth0`,
      "ip neighbour add 198.18.0.9 lladdr 02:00:00:00:00:97 dev eth0 nud permanent",
      "ip neighbour add 10.244.88.0 lladdr 02:00:00:00:00:97 dev flannel.1 nud stale",
      "ip address add 192.0.2.1/24 dev flannel.1",
      "ip link add cni0 type bridge",
      "ip address add 10.244.1.1/24 dev cni0",
      "ip link set cni0 up",
      "ip link set flannel.1 txqueuelen 100",
    ];
    for (const command of harmless) await node.ns.exec(command.split(" "));
    await node.told();
    expect(node.drifts).toEqual([]);
    expect(node.interfaceChanges).toBeGreaterThan(before);
    expect(node.reconciler.fullReads).toBe(1);
    expect([...(await node.reconcile(desired)).done]).toEqual([]);
  });
});
