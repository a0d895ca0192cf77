import { expect, test } from "bun:test";
import * as v from "valibot";
import { inventoryOf } from "../../src/kernel/read.ts";
import { FAMILIES } from "../../src/net/family.ts";
import { DUAL } from "../desired/examples.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { desiredOn, inside, KernelNode } from "./real-kernel.ts";

const SEEN_MS = 10_000;

const Shown = v.array(v.object({ addr_info: v.array(v.object({ local: v.optional(v.string()) })) }));

/** Addresses of a link by family, in the kernel's order: as `ip` shows them, and as the choice of the interface has them. */
async function orders(node: KernelNode, name: string): Promise<{ shown: string[][]; known: string[][] }> {
  const shown: string[][] = [];
  const known: string[][] = [];
  const actual = await inside(node.ns, () => node.reconciler.actual());
  const link = inventoryOf(actual).interfaces.find((one) => one.name === name);
  for (const family of FAMILIES) {
    const [device] = v.parse(Shown, JSON.parse(await node.ip("-j", `-${family}`, "address", "show", "dev", name)));
    shown.push((device?.addr_info ?? []).flatMap(({ local }) => local ?? []));
    known.push((link?.addresses ?? []).filter((one) => one.family === family).map(({ address }) => address));
  }
  return { shown, known };
}

describeInNamespaces("addresses that come beside others", () => {
  test("are known in the kernel's order, without a full read", async () => {
    await using node = await KernelNode.create([4, 6]);
    await node.reconcile(desiredOn(node, DUAL, [1]));
    const commands = [
      "address add 198.51.100.1/24 dev eth0",
      "address add 198.51.100.2/24 dev eth0",
      // One of a narrower scope goes before those of a wider one, and a new IPv6 one before those of its scope.
      "address add 192.0.2.1/24 dev eth0 scope link",
      "address add 203.0.113.1/24 dev eth0",
      "address delete 198.18.0.1/15 dev eth0",
      "address add fec0::1/64 dev eth0 nodad",
      "address add 2001:db8::7/64 dev eth0 nodad",
      "address add fe80::7/64 dev eth0 nodad",
      "address delete 198.51.100.1/24 dev eth0",
    ];
    for (const command of commands) {
      await node.ip(...command.split(" "));
      await eventually(
        async () => {
          const { shown, known } = await orders(node, "eth0");
          return Bun.deepEquals(shown, known);
        },
        { within: SEEN_MS, what: `the order after ${command}` },
      );
    }
    expect((await orders(node, "eth0")).known[0]).toEqual(["192.0.2.1", "203.0.113.1"]);
    expect(node.reconciler.fullReads).toBe(1);
  });

  test("of another interface by the thousand cost neither a full read nor attention", async () => {
    await using node = await KernelNode.create();
    await node.reconcile(desiredOn(node, [4], [1]));
    await node.ip("link", "add", "kube-ipvs0", "type", "bridge");
    const addresses = Array.from({ length: 2_000 }, (_, n) => `10.96.${n >> 8}.${n & 255}`);
    await node.batch(
      "ip",
      addresses.map((address) => `address add ${address}/32 dev kube-ipvs0`),
    );
    await eventually(async () => (await orders(node, "kube-ipvs0")).known[0]?.length === addresses.length, {
      within: SEEN_MS,
      what: "all of them are known",
    });
    const { shown, known } = await orders(node, "kube-ipvs0");
    expect(known).toEqual(shown);
    expect(node.reconciler.isUncertain(node.underlay)).toBe(false);
    expect([node.drifts, node.reconciler.fullReads]).toEqual([[], 1]);
  });
});
