import { expect, test } from "bun:test";
import fc from "fast-check";
import { BLACKHOLE_METRIC } from "../../src/desired/blackholes.ts";
import type { Desired } from "../../src/desired/desired.ts";
import { routeProtocol } from "../../src/desired/route-protocol.ts";
import { RTN_BLACKHOLE } from "../../src/ffi/constants.ts";
import { FAMILIES, type Family } from "../../src/net/family.ts";
import { formatPrefix } from "../../src/net/prefix.ts";
import { DUAL, exampleSubnet } from "../desired/examples.ts";
import { addAddress } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { expectDesired } from "./expectations.ts";
import { desiredOn, KernelNode } from "./real-kernel.ts";
import { anyDesired, anyWorld, converge, desiredFor, exampleRoute, freshKernel } from "./worlds.ts";

const SEEN_MS = 10_000;

const withBlackholes = (desired: Desired, families: readonly Family[] = DUAL): Desired => ({
  ...desired,
  blackholes: families.map((family) => exampleSubnet(family, 0)),
});

test("from any state of the kernel, the blackhole routes that are wanted are there, and no others of ours", () => {
  fc.assert(
    fc.property(
      anyWorld(8),
      anyDesired,
      fc.subarray([...DUAL]),
      fc.subarray([...DUAL]),
      (world, desired, had, wanted) => {
        const kernel = world.make();
        const before = withBlackholes(desired, had);
        fc.pre(converge(kernel, before).passes < 10);
        const after = withBlackholes(desired, wanted);
        converge(kernel, after);
        expectDesired(kernel, after);
      },
    ),
    { numRuns: 200 },
  );
});

test("without leave to prune none goes; what flanneld left for the same subnet goes once ours is there", () => {
  const kernel = freshKernel();
  const desired = desiredFor(DUAL, [1]);
  const others = FAMILIES.flatMap((family) => {
    const left = exampleRoute({ destination: exampleSubnet(family, 0), type: RTN_BLACKHOLE });
    const elsewhere = exampleRoute({ destination: exampleSubnet(family, 77), type: RTN_BLACKHOLE });
    return [left, elsewhere];
  });
  for (const route of others) kernel.addRoute(route, "first");
  const blackholes = () =>
    kernel.routes
      .filter(({ type }) => type === RTN_BLACKHOLE)
      .map(({ destination, priority }) => `${formatPrefix(destination)}${priority === BLACKHOLE_METRIC ? " ours" : ""}`)
      .sort();
  const foreign = ["10.244.78.0/24", "fd00:10:244:4e::/64"];
  const flanneld = ["10.244.1.0/24", "fd00:10:244:1::/64"];
  const ours = flanneld.map((text) => `${text} ours`);
  converge(kernel, desired);
  expect(blackholes()).toEqual([...foreign, ...flanneld].sort());
  converge(kernel, withBlackholes(desired), { prune: false });
  expect(blackholes()).toEqual([...foreign, ...flanneld, ...ours].sort());
  converge(kernel, withBlackholes(desired));
  expect(blackholes()).toEqual([...foreign, ...ours].sort());
  converge(kernel, desired, { prune: false });
  expect(blackholes()).toEqual([...foreign, ...ours].sort());
  converge(kernel, desired);
  expect(blackholes()).toEqual([...foreign].sort());
});

describeInNamespaces("on the real kernel, blackhole routes for the node's subnets", () => {
  const subnets = DUAL.map((family) => ({ family, text: formatPrefix(exampleSubnet(family, 0)) }));
  const shown = async (node: KernelNode, family: Family, text: string) =>
    (await node.ip(`-${family}`, "route", "show", "exact", text)).trim().split("\n").sort();

  test("come, are mended, and go; what is not ours stays", async () => {
    await using node = await KernelNode.create([4, 6]);
    const plain = desiredOn(node, DUAL, [1, 2]);
    const desired = withBlackholes(plain);
    await node.ip("route", "add", "blackhole", "10.244.99.0/24");
    const report = await node.reconcile(desired);
    expect(report).toMatchObject({ settled: true, failed: [] });
    const { fullReads } = node.reconciler;
    for (const { family, text } of subnets) {
      const protocol = routeProtocol(exampleSubnet(family, 0));
      const [route] = await shown(node, family, text);
      expect(route).toContain(`blackhole ${text}`);
      expect(route).toContain(`proto ${protocol}`);
      expect(route).toContain(`metric ${BLACKHOLE_METRIC}`);
      expect([...(await node.reconcile(desired)).done]).toEqual([]);
      await node.ip(`-${family}`, "route", "delete", "blackhole", text, "metric", `${BLACKHOLE_METRIC}`);
      await eventually(() => node.drifts.length > 0, { within: SEEN_MS, what: "the deletion is seen" });
      expect([...(await node.reconcile(desired)).done]).toEqual([["blackhole-replace", 1]]);
      expect(await shown(node, family, text)).toEqual([route ?? ""]);
    }
    expect(node.reconciler.fullReads).toBe(fullReads);
    expect([...(await node.reconcile(plain)).done]).toEqual([["blackhole-delete", 2]]);
    for (const { family, text } of subnets) expect(await shown(node, family, text)).toEqual([""]);
    expect(await node.ip("route", "show", "type", "blackhole")).toContain("10.244.99.0/24");
  });

  test("are in nobody's way: the bridge's route wins, whichever came first", async () => {
    await using node = await KernelNode.create([4, 6]);
    const desired = withBlackholes(desiredOn(node, DUAL, [1]));
    const pods = { 4: "10.244.1.9", 6: "fd00:10:244:1::9" };
    const usedFor = (family: Family) => node.ip(`-${family}`, "route", "get", pods[family]).catch(String);
    const bridge = async () => {
      await node.ip("link", "add", "cni0", "type", "bridge");
      await addAddress(node.ns, "10.244.1.1/24", "cni0");
      await addAddress(node.ns, "fd00:10:244:1::1/64", "cni0");
      await node.ip("link", "set", "cni0", "up");
    };
    await node.reconcile(desired);
    for (const { family } of subnets) expect(await usedFor(family)).toMatch(/Invalid argument|blackhole/);
    await bridge();
    for (const { family } of subnets) expect(await usedFor(family)).toContain("dev cni0");
    expect([...(await node.reconcile(desired)).done]).toEqual([]);
    await node.ip("link", "delete", "cni0");
    await node.reconcile(desiredOn(node, DUAL, [1]));
    await bridge();
    expect([...(await node.reconcile(desired)).done]).toEqual([["blackhole-replace", 2]]);
    for (const { family } of subnets) expect(await usedFor(family)).toContain("dev cni0");
  });

  test("take the place of those that flanneld left", async () => {
    await using node = await KernelNode.create([4, 6]);
    for (const { family, text } of subnets) await node.ip(`-${family}`, "route", "add", "blackhole", text);
    const { done } = await node.reconcile(withBlackholes(desiredOn(node, DUAL, [])));
    expect([done.get("blackhole-replace"), done.get("blackhole-delete")]).toEqual([2, 2]);
    for (const { family, text } of subnets) expect(await shown(node, family, text)).toHaveLength(1);
  });
});
