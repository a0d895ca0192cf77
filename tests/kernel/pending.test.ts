import { expect, test } from "bun:test";
import { exampleSubnet } from "../desired/examples.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { desiredOn, KernelNode } from "./real-kernel.ts";

describeInNamespaces("what a reconcile would do", () => {
  test("is nothing while the kernel is as desired, and what was undone as soon as that was told", async () => {
    await using node = await KernelNode.create();
    const { reconciler } = node;
    expect(reconciler.pending()).toEqual([]);
    expect(reconciler.asDesired).toBe(false);
    const desired = desiredOn(node, [4], [1, 2]);
    await node.reconcile(desired);
    expect(reconciler.pending()).toEqual([]);
    expect(reconciler.asDesired).toBe(true);
    await node.batch("ip", [`route delete ${exampleSubnet(4, 1).address}/24`]);
    const operations = await eventually(
      () => {
        const pending = reconciler.pending();
        return pending.length > 0 ? pending : undefined;
      },
      { within: 10_000, what: "the notification has come" },
    );
    expect(operations).toMatchObject([{ kind: "route-replace", why: "it is missing" }]);
    expect(reconciler.asDesired).toBe(false);
    await node.reconcile(desired);
    expect(reconciler.pending()).toEqual([]);
    expect(reconciler.asDesired).toBe(true);
    // What has to be read again is not known to be right.
    reconciler.forget();
    expect(reconciler.asDesired).toBe(false);
  });

  test("keeps what is not desired where nothing is pruned", async () => {
    await using node = await KernelNode.create();
    await node.reconcile(desiredOn(node, [4], [1, 2]));
    await node.reconcile(desiredOn(node, [4], [1]), false);
    expect(node.reconciler.pending()).toEqual([]);
    await node.reconcile(desiredOn(node, [4], [1]));
    const { known } = node.reconciler;
    expect(known?.routes.has(`${exampleSubnet(4, 2).address}/24`)).toBe(false);
  });
});
