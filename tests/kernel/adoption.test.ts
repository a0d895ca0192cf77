import { expect, test } from "bun:test";
import { exampleMac, examplePublicIP, exampleSubnet, IPV4 } from "../desired/examples.ts";
import { Netns } from "../support/netns.ts";
import { startPing } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { desiredOn, KernelNode, summaryOf } from "./real-kernel.ts";

/** What flanneld makes on node `n` for the nodes `peers`: no protocol number, no mark. */
function asFlanneld(n: number, peers: readonly number[]): { ip: string[]; bridge: string[] } {
  const device = `flannel.1 mtu 1450 address ${exampleMac(4, n)}`;
  return {
    ip: [
      `link add ${device} type vxlan id 1 dstport 8472 local ${examplePublicIP(4, n)} dev eth0 nolearning`,
      "link set flannel.1 up",
      `address add ${exampleSubnet(4, n).address}/32 dev flannel.1`,
      ...peers.flatMap((peer) => {
        const { address } = exampleSubnet(4, peer);
        return [
          `neighbour replace ${address} lladdr ${exampleMac(4, peer)} dev flannel.1 nud permanent`,
          `route replace ${address}/24 via ${address} dev flannel.1 onlink`,
        ];
      }),
    ],
    bridge: peers.map((peer) => `fdb replace ${exampleMac(4, peer)} dev flannel.1 dst ${examplePublicIP(4, peer)}`),
  };
}

/** A node whose external interface leads to a second one, which has peer 1's part. */
async function pairOfNodes(node: KernelNode, other: Netns): Promise<void> {
  await node.ip("link", "set", "eth0p", "netns", other.name);
  const { ip, bridge } = asFlanneld(1, [0]);
  const setUp = ["link set eth0p name eth0", "link set eth0 up", `address add ${examplePublicIP(4, 1)}/15 dev eth0`];
  await other.exec(["ip", "-batch", "-"], [...setUp, ...ip].join("\n"));
  await other.exec(["bridge", "-batch", "-"], bridge.join("\n"));
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

describeInNamespaces("what flanneld left", () => {
  test("is taken over in place: nothing is lost, and no entry is ever absent", async () => {
    await using node = await KernelNode.create();
    using other = new Netns();
    await pairOfNodes(node, other);
    const { ip, bridge } = asFlanneld(0, [1, 2, 9]);
    await node.batch("ip", ip);
    await node.batch("bridge", bridge);
    const before = await node.link("flannel.1");

    const ping = startPing(node.ns, exampleSubnet(4, 1).address, { intervalMs: 2 });
    await ping.answers(20, 10_000);
    const monitor = await startMonitor(node);
    const desired = desiredOn(node, IPV4, [1, 2]);
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
    expect((await node.link("flannel.1"))?.ifindex).toBe(before?.ifindex ?? 0);
    // Of all that was there only what belongs to the node that is gone was deleted.
    const deleted = (await monitor.stop()).filter((line) => line.startsWith("Deleted"));
    const gone = [exampleSubnet(4, 9).address, exampleMac(4, 9)];
    expect(deleted.filter((line) => !gone.some((text) => line.includes(text)))).toEqual([]);
    expect(deleted).not.toEqual([]);
  });

  test("stays in full without the leave to prune", async () => {
    await using node = await KernelNode.create();
    const { ip, bridge } = asFlanneld(0, [1, 2, 9]);
    await node.batch("ip", ip);
    await node.batch("bridge", bridge);
    const report = await node.reconcile(desiredOn(node, IPV4, []), false);
    expect([...report.done]).toEqual([["link-change", 1]]);
    const all = desiredOn(node, IPV4, [1, 2, 9]);
    const found = await node.summary(all);
    expect(found.neighbours).toEqual([...summaryOf(all).neighbours]);
    expect(found.forwarding).toEqual([...summaryOf(all).forwarding]);
    expect((await node.ip("route", "show", "dev", "flannel.1")).trim().split("\n")).toHaveLength(3);
  });

  test("by our own earlier run costs no operation, and what a peer had that left meanwhile goes", async () => {
    await using node = await KernelNode.create();
    using other = new Netns();
    await pairOfNodes(node, other);
    await node.reconcile(desiredOn(node, IPV4, [1, 2, 3]));
    const ping = startPing(node.ns, exampleSubnet(4, 1).address, { intervalMs: 2 });
    await ping.answers(20, 10_000);
    await using again = await KernelNode.in(node.ns, node.underlay);
    expect([...(await again.reconcile(desiredOn(node, IPV4, [1, 2, 3]))).done]).toEqual([]);
    const report = await again.reconcile(desiredOn(node, IPV4, [1, 3]));
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
