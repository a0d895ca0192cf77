import { expect, test } from "bun:test";
import { IPV4 } from "../desired/examples.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { desiredOn, KernelNode, summaryOf } from "./real-kernel.ts";

describeInNamespaces("notifications that are lost", () => {
  test("lead to a full read, after which the kernel is as desired", async () => {
    await using node = await KernelNode.create();
    const desired = desiredOn(node, IPV4, [1, 2]);
    await node.reconcile(desired);
    const reads = node.reconciler.fullReads;
    const lines = Array.from(
      { length: 60_000 },
      (_, n) =>
        `neighbour replace 10.244.${n & 127}.7 lladdr 02:00:00:00:0${(n >> 7) & 1}:07 dev flannel.1 nud permanent`,
    );
    // While the event loop stands still nobody takes the notifications.
    const flood = Bun.spawnSync(node.ns.command(["ip", "-batch", "-"]), {
      stdin: Buffer.from(`${lines.join("\n")}\nroute flush dev flannel.1\n`),
      stderr: "pipe",
    });
    expect(flood.stderr.toString()).toBe("");
    await eventually(() => node.drifts.includes("lost notifications"), { within: 10_000, what: "the loss is noticed" });
    const report = await node.reconcile(desired);
    expect(report.settled).toBe(true);
    expect(node.reconciler.fullReads).toBeGreaterThan(reads);
    expect(await node.summary(desired)).toEqual(summaryOf(desired));
  });

  test("are not needed where nothing is lost: a thousand foreign changes cost no read", async () => {
    await using node = await KernelNode.create();
    const desired = desiredOn(node, IPV4, [1]);
    await node.reconcile(desired);
    const reads = node.reconciler.fullReads;
    await node.batch(
      "ip",
      Array.from({ length: 1_000 }, (_, n) => `route replace 203.0.${n & 127}.0/24 dev eth0`),
    );
    await node.told();
    expect(node.drifts).toEqual([]);
    expect((await node.reconcile(desired)).settled).toBe(true);
    expect(node.reconciler.fullReads).toBe(reads);
  });
});
