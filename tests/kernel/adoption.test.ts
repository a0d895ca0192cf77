import { expect, test } from "bun:test";
import { vxlanDeviceName } from "../../src/desired/vxlan.ts";
import { FAMILIES, type Family } from "../../src/net/family.ts";
import { formatPrefix } from "../../src/net/prefix.ts";
import { exampleMac, examplePublicIP, exampleSubnet } from "../desired/examples.ts";
import { asFlanneld, type Commands, type FlannelLease } from "../support/flannel/entries.ts";
import { Netns } from "../support/netns.ts";
import { type Ping, startPing } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { desiredOn, KernelNode, summaryOf } from "./real-kernel.ts";

const leaseOf = (family: Family, n: number): FlannelLease => ({
  subnet: formatPrefix(exampleSubnet(family, n)),
  publicIP: examplePublicIP(family, n),
  mac: exampleMac(family, n),
});

/** What flanneld makes on node `n` for the nodes `peers`. */
function flanneldOn(family: Family, n: number, peers: readonly number[]): Commands {
  const others = peers.map((peer) => leaseOf(family, peer));
  return asFlanneld(family, leaseOf(family, n), others);
}

/** A node whose external interface leads to a second one, which has peer 1's part. */
async function pairOfNodes(family: Family, node: KernelNode, other: Netns): Promise<void> {
  await node.ip("link", "set", "eth0p", "netns", other.name);
  const { ip, bridge } = flanneldOn(family, 1, [0]);
  const own = examplePublicIP(family, 1);
  const setUp = [
    "link set eth0p name eth0",
    "link set eth0 up",
    family === 4 ? `address add ${own}/15 dev eth0` : `address add ${own}/64 dev eth0 nodad`,
  ];
  await other.exec(["ip", "-batch", "-"], [...setUp, ...ip].join("\n"));
  await other.exec(["bridge", "-batch", "-"], bridge.join("\n"));
}

/** A ping to peer 1 that begins once it is answered: IPv6 first looks for duplicates of link-local addresses. */
async function startSteadyPing({ ns }: KernelNode, family: Family): Promise<Ping> {
  const start = async () => {
    const ping = startPing(ns, exampleSubnet(family, 1).address, { intervalMs: 2 });
    await ping.answers(20, 10_000);
    return ping;
  };
  await (await start()).stop();
  return start();
}

/** `ip monitor` in a namespace: what it has printed from when it listens to all that came before `stop`. */
async function startMonitor({ ns }: KernelNode): Promise<{ stop(): Promise<string[]> }> {
  const child = ns.spawn(["ip", "monitor", "link", "address", "route", "neigh"], { stdout: "pipe" });
  let text = "";
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) text += decoder.decode(chunk, { stream: true });
  })();
  /** Makes a change of its own until that is told. */
  const mark = (network: string) =>
    eventually(
      async () => {
        await ns.exec(["ip", "-batch", "-"], `route add ${network} dev eth0\nroute delete ${network} dev eth0`);
        return text.includes(network);
      },
      { within: 10_000, what: "ip monitor tells of a route" },
    );
  await mark("203.0.113.1");
  return {
    async stop() {
      await mark("203.0.113.2");
      child.kill();
      await reading;
      return text.split("\n").filter((line) => !line.includes("203.0.113."));
    },
  };
}

for (const family of FAMILIES)
  describeInNamespaces(`what flanneld left, IPv${family}`, () => {
    const device = vxlanDeviceName(family, 1);
    const families = [family];
    /** All of its routes but those that the kernel makes by itself. */
    const routes = async (node: KernelNode) =>
      (await node.ip(`-${family}`, "route", "show", "dev", device))
        .trim()
        .split("\n")
        .filter((line) => !line.includes("proto kernel"));

    test("is taken over in place: nothing is lost, and no entry is ever absent", async () => {
      await using node = await KernelNode.create(families);
      using other = new Netns();
      await pairOfNodes(family, node, other);
      const { ip, bridge } = flanneldOn(family, 0, [1, 2, 9]);
      await node.batch("ip", ip);
      await node.batch("bridge", bridge);
      const before = await node.link(device);

      const ping = await startSteadyPing(node, family);
      const monitor = await startMonitor(node);
      const desired = desiredOn(node, families, [1, 2]);
      const report = await node.reconcile(desired);
      expect([...report.done].sort()).toEqual([
        ["forwarding-delete", 1],
        ["link-change", 1],
        ["neighbour-delete", 1],
        ["route-delete", 1],
        ["route-replace", 2],
      ]);
      await ping.answers(20, 10_000);
      const { sent, received } = await ping.stop();
      expect(received).toBe(sent);

      expect(report).toMatchObject({ settled: true, failed: [] });
      expect(await node.summary(desired)).toEqual(summaryOf(desired));
      expect((await node.link(device))?.ifindex).toBe(before?.ifindex ?? 0);
      // Of all that was there only what belongs to the node that is gone was deleted.
      const deleted = (await monitor.stop()).filter((line) => line.startsWith("Deleted"));
      const gone = [exampleSubnet(family, 9).address, exampleMac(family, 9)];
      expect(deleted.filter((line) => !gone.some((text) => line.includes(text)))).toEqual([]);
      expect(deleted).not.toEqual([]);
    });

    test("stays in full without the leave to prune", async () => {
      await using node = await KernelNode.create(families);
      const { ip, bridge } = flanneldOn(family, 0, [1, 2, 9]);
      await node.batch("ip", ip);
      await node.batch("bridge", bridge);
      const report = await node.reconcile(desiredOn(node, families, []), false);
      expect([...report.done]).toEqual([["link-change", 1]]);
      const all = desiredOn(node, families, [1, 2, 9]);
      const found = await node.summary(all);
      expect(found.neighbours).toEqual([...summaryOf(all).neighbours]);
      expect(found.forwarding).toEqual([...summaryOf(all).forwarding]);
      expect(await routes(node)).toHaveLength(3);
    });

    test("by our own earlier run costs no operation, and what a peer had that left meanwhile goes", async () => {
      await using node = await KernelNode.create(families);
      using other = new Netns();
      await pairOfNodes(family, node, other);
      await node.reconcile(desiredOn(node, families, [1, 2, 3]));
      const ping = await startSteadyPing(node, family);
      await using again = await KernelNode.in(node.ns, node.underlay, families);
      expect([...(await again.reconcile(desiredOn(node, families, [1, 2, 3]))).done]).toEqual([]);
      const report = await again.reconcile(desiredOn(node, families, [1, 3]));
      expect([...report.done].sort()).toEqual([
        ["forwarding-delete", 1],
        ["neighbour-delete", 1],
        ["route-delete", 1],
      ]);
      await ping.answers(20, 10_000);
      const { sent, received } = await ping.stop();
      expect(received).toBe(sent);
    });
  });
