import { expect, test } from "bun:test";
import type { Desired } from "../../src/desired/desired.ts";
import { Ethtool } from "../../src/ffi/ethtool.ts";
import { DUAL, IPV4 } from "../desired/examples.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { desiredOn, inside, KernelNode } from "./real-kernel.ts";

const SEEN_MS = 10_000;

const withChecksum = (desired: Desired, wanted: boolean): Desired => ({
  ...desired,
  devices: desired.devices.map((device) => ({ ...device, txChecksum: { wanted, why: "a test" } })),
});

describeInNamespaces("on the real kernel, checksum offload of our devices", () => {
  test("is turned off and on, stays so, and is mended when somebody else changes it", async () => {
    await using node = await KernelNode.create([4, 6]);
    using ethtool = await inside(node.ns, async () => new Ethtool());
    const plain = desiredOn(node, DUAL, [1]);
    const names = plain.devices.map(({ name }) => name);
    const actual = () => names.map((name) => ethtool.txChecksum(name));
    await node.reconcile(plain);
    expect(actual()).toEqual([true, true]);
    const known = () =>
      names.map(
        (name) => [...(node.reconciler.known?.links.values() ?? [])].find((link) => link.name === name)?.txChecksum,
      );
    expect(known()).toEqual([true, true]);
    const { fullReads } = node.reconciler;

    const off = withChecksum(plain, false);
    expect([...(await node.reconcile(off)).done]).toEqual([["offload-change", 2]]);
    expect(actual()).toEqual([false, false]);
    expect(known()).toEqual([false, false]);
    expect([...(await node.reconcile(off)).done]).toEqual([]);
    // Without a wish it stays as it is, whoever made it so.
    expect([...(await node.reconcile(plain)).done]).toEqual([]);
    await node.reconcile(off);

    for (const name of names) {
      node.drifts.length = 0;
      ethtool.setTxChecksum(name, true);
      await eventually(() => node.drifts.length > 0, { within: SEEN_MS, what: "the change is seen" });
      expect(await node.reconcile(off)).toMatchObject({ settled: true, done: new Map([["offload-change", 1]]) });
      expect(actual()).toEqual([false, false]);
    }
    expect([...(await node.reconcile(withChecksum(plain, true))).done]).toEqual([["offload-change", 2]]);
    expect(actual()).toEqual([true, true]);
    expect(node.reconciler.fullReads).toBe(fullReads);
  });

  test("is set on a device that has to be made anew, before the node counts as settled", async () => {
    await using node = await KernelNode.create();
    using ethtool = await inside(node.ns, async () => new Ethtool());
    const off = withChecksum(desiredOn(node, IPV4, [1]), false);
    expect(await node.reconcile(off)).toMatchObject({ settled: true, failed: [] });
    expect(ethtool.txChecksum("flannel.1")).toBe(false);
    await node.ip("link", "delete", "flannel.1");
    await eventually(() => node.drifts.length > 0, { within: SEEN_MS, what: "the deletion is seen" });
    expect(await node.reconcile(off)).toMatchObject({ settled: true, failed: [] });
    expect(ethtool.txChecksum("flannel.1")).toBe(false);
  });

  test("of a device that is not there can't be told nor set; a driver has a name", async () => {
    await using node = await KernelNode.create();
    using ethtool = await inside(node.ns, async () => new Ethtool());
    expect(ethtool.txChecksum("nobody")).toBeUndefined();
    expect(() => ethtool.setTxChecksum("nobody", false)).toThrow("set checksum offload of nobody: ENODEV");
    expect([ethtool.driver("eth0"), ethtool.driver("nobody"), ethtool.driver("a-name-that-is-too-long")]).toEqual([
      "veth",
      undefined,
      undefined,
    ]);
    expect(node.reconciler.driverOf("eth0")).toBe("veth");
  });
});
