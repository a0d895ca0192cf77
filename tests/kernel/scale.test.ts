import { expect, test } from "bun:test";
import type { Desired } from "../../src/desired/desired.ts";
import { type Plan, plan } from "../../src/desired/plan.ts";
import { NetlinkSocket } from "../../src/ffi/libnl/socket.ts";
import { readKernel } from "../../src/kernel/read.ts";
import type { Lease } from "../../src/lease/lease.ts";
import { exampleInput, exampleLease, exampleMac, examplePublicIP, IPV4, NETWORKS } from "../desired/examples.ts";
import { prefix } from "../net/values.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { inside, KernelNode, summaryOf } from "./real-kernel.ts";

const PEERS = 5_000;

/** A peer whose subnet comes from a larger network than that of the examples. */
function peer(n: number, changes: Partial<Lease> = {}): Lease {
  const subnets = { 4: prefix(`11.${n >> 8}.${n & 255}.0/24`) };
  return exampleLease(IPV4, n, { key: String(n).padStart(6, "0"), subnets, ...changes });
}

function planFor(node: KernelNode, peers: readonly Lease[], before?: Plan): Plan {
  const { own, ...input } = exampleInput(IPV4, [], { external: { index: node.underlay }, own: { key: "" } });
  return plan({ ...input, own, leases: [own, ...peers] }, before);
}

const peers = Array.from({ length: PEERS }, (_, n) => peer(n + 1));

describeInNamespaces("5,000 peers", () => {
  test("are programmed, each with its three entries and nothing beyond; then one change costs no full read", async () => {
    await using node = await KernelNode.create();
    const { desired } = planFor(node, peers);
    const report = await node.reconcile(desired);
    expect(report).toMatchObject({ settled: true, failed: [] });
    expect([...report.done].sort()).toEqual([
      ["address-add", 1],
      ["forwarding-replace", PEERS],
      ["link-add", 1],
      // The kernel takes no alias for a device that it is to make.
      ["link-change", 1],
      ["neighbour-replace", PEERS],
      ["route-replace", PEERS],
    ]);
    await expectExactly(node, desired);

    const publicIPs = { 4: examplePublicIP(4, PEERS + 7) };
    const vteps = { 4: { vni: 1, mac: exampleMac(4, PEERS + 7) } };
    const moved = planFor(node, [
      ...peers.slice(0, 17),
      peer(18, { publicIPs, vteps }),
      ...peers.slice(18, -1),
    ]).desired;
    expect([...(await node.reconcile(moved)).done].sort()).toEqual([
      ["forwarding-delete", 2],
      ["forwarding-replace", 1],
      ["neighbour-delete", 1],
      ["neighbour-replace", 1],
      ["route-delete", 1],
    ]);
    await expectExactly(node, moved);

    await node.ip("route", "delete", "11.0.99.0/24");
    await eventually(() => node.drifts.length > 0, { within: 10_000, what: "the loss of a route is seen" });
    expect([...(await node.reconcile(moved)).done]).toEqual([["route-replace", 1]]);
    expect(node.reconciler.fullReads).toBe(1);

    // The loss of all of one kind takes no full read either.
    await node.ip("route", "flush", "dev", "flannel.1");
    await eventually(() => node.drifts.length > 0, { within: 10_000, what: "the loss of the routes is seen" });
    await eventually(async () => (await node.reconcile(moved)).done.size === 0, {
      within: 20_000,
      what: "all are back",
    });
    await expectExactly(node, moved);
  });

  test("are told apart from each other by the kernel's refusals: one bad one stops no other", async () => {
    await using node = await KernelNode.create();
    // 127.0.0.0/8 is no network that a route may have a gateway in.
    const bad = peer(9_000, { subnets: { 4: prefix("127.0.5.0/24") } });
    const { desired } = planFor(node, [...peers.slice(0, 3_000), bad]);
    const report = await node.reconcile(desired);
    expect(report.settled).toBe(false);
    expect(report.failed.map(({ error }) => error.message)).toEqual([
      expect.stringMatching(/^replace route 127\.0\.5\.0\/24: [A-Z]+ \(/),
    ]);
    expect((await node.summary(desired)).routes).toHaveLength(3_000);
    const without = planFor(node, peers.slice(0, 3_000)).desired;
    expect((await node.reconcile(without)).settled).toBe(true);
    await expectExactly(node, without);
  });
});

async function expectExactly(node: KernelNode, desired: Desired): Promise<void> {
  const [found, wanted] = [await node.summary(desired), summaryOf(desired)];
  for (const kind of ["devices", "addresses", "routes", "neighbours", "forwarding"] as const) {
    // 5,000 lines of difference help nobody.
    expect([...new Set(found[kind]).symmetricDifference(new Set(wanted[kind]))].slice(0, 5)).toEqual([]);
    expect(found[kind].length).toBe(wanted[kind].length);
  }
}

describeInNamespaces("a full read", () => {
  test("while others change the state has all that did not change", async () => {
    await using node = await KernelNode.create();
    const { desired } = planFor(node, peers.slice(0, 1_000));
    await node.reconcile(desired);
    // A dump of links comes in parts, between which these change.
    const links = Array.from({ length: 150 }, (_, n) => `link add br${n} type bridge`);
    await node.batch("ip", links);
    const script =
      "while :; do ip link add spoiler type bridge; ip address add 192.0.2.1/24 dev spoiler; " +
      "ip route add 11.200.0.0/24 dev eth0; ip neigh add 11.200.0.0 lladdr 02:00:00:00:00:99 dev flannel.1; " +
      "ip neigh del 11.200.0.0 dev flannel.1; ip route del 11.200.0.0/24; ip link del spoiler; done";
    const spoiler = node.ns.spawn(["sh", "-c", script], { stdout: "ignore", stderr: "ignore" });
    try {
      using socket = await inside(node.ns, async () => new NetlinkSocket({ receiveBuffer: 8 * 1024 * 1024 }));
      for (let round = 0; round < 60; round++) {
        // A dump that is disturbed again and again is given up, as the agent does it until its next turn.
        const mirror = await eventually(() => readKernel(socket, NETWORKS), { within: 30_000, what: "a full read" });
        const [device] = [...mirror.links.values()].filter(({ name }) => name === "flannel.1");
        const index = device?.index ?? 0;
        expect(mirror.links.size).toBeGreaterThanOrEqual(links.length + 4);
        const [{ neighbours, forwarding } = { neighbours: new Map(), forwarding: new Map() }] = desired.devices;
        const missing = [
          ...[...desired.routes.keys()].filter((key) => mirror.routes.get(key)?.[0]?.index !== index),
          ...[...neighbours].filter(([key, lladdr]) => mirror.neighbours.get(index)?.get(key)?.mac !== lladdr),
          ...[...forwarding].filter(([key, to]) => mirror.forwarding.get(index)?.get(key)?.destination !== to),
        ];
        expect(missing.slice(0, 5)).toEqual([]);
        await new Promise(setImmediate);
      }
    } finally {
      spoiler.kill();
      await spoiler.exited;
    }
  });
});
