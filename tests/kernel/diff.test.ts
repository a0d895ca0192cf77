import { describe, expect, test } from "bun:test";
import { Comparison } from "../../src/kernel/diff.ts";
import { deviceProblems } from "../../src/kernel/diff-devices.ts";
import type { Operation } from "../../src/kernel/operations.ts";
import { describe as describeOperation } from "../../src/kernel/reconciler.ts";
import { exampleMac, examplePublicIP, exampleSubnet, IPV4, IPV6, NETWORKS } from "../desired/examples.ts";
import { DEVICE, driftCases, own, PLAIN_LINK, peer, settledKernel } from "./drift-cases.ts";
import { converge, desiredFor, disguise, exampleRoute, freshKernel, UNDERLAY } from "./worlds.ts";

const texts = (operations: readonly Operation[]) => operations.map(describeOperation);

describe("the comparison", () => {
  const desired = desiredFor(IPV4, [1, 2]);

  test.each(driftCases.map((one) => [one.what, one] as const))("mends: %s", (_, { change, mends }) => {
    const kernel = settledKernel();
    expect(change(kernel)).toBeUndefined();
    const operations = new Comparison(desired, kernel.dump(NETWORKS), { prune: true }).all();
    expect(texts(operations)).toEqual([...mends]);
    converge(kernel, desired);
    expect(new Comparison(desired, kernel.dump(NETWORKS), { prune: true }).all()).toEqual([]);
  });

  test("says what is wrong with a device or its address, and nothing of entries", () => {
    const kernel = settledKernel();
    kernel.deleteRoute(own(1));
    expect(deviceProblems(desired, kernel.dump(NETWORKS))).toEqual([]);
    kernel.deleteAddress(DEVICE, peer(0).address, 32);
    expect(deviceProblems(desired, kernel.dump(NETWORKS))).toEqual(["flannel.1: address 10.244.1.0/32: it is missing"]);
    kernel.changeLink(DEVICE, { up: false, mtu: 1400 });
    expect(deviceProblems(desired, kernel.dump(NETWORKS))).toEqual([
      "flannel.1: its mtu is 1400, not 1450, it is down",
    ]);
    kernel.deleteLink(DEVICE);
    expect(deviceProblems(desired, kernel.dump(NETWORKS))).toEqual(["flannel.1: it is missing"]);
  });

  test("says that IPv6 needs a larger MTU than the device has", () => {
    const small = desiredFor(IPV6, [1], { external: { index: UNDERLAY, mtu: 1300 } });
    const kernel = freshKernel();
    converge(kernel, small);
    kernel.deleteAddress(DEVICE, exampleSubnet(6, 0).address, 128);
    expect(deviceProblems(small, kernel.dump(NETWORKS))).toEqual([
      "flannel-v6.1: address fd00:10:244:1::/128: it is missing: IPv6 needs an MTU of 1280, the device has 1230",
    ]);
  });

  test("says when the checksum offload is not as it shall be", () => {
    const kernel = settledKernel();
    const [device] = desired.devices;
    const off = { ...desired, devices: device ? [{ ...device, txChecksum: { wanted: false, why: "a fault" } }] : [] };
    const why = "its checksum offload is on, not off: a fault";
    expect(deviceProblems(off, kernel.dump(NETWORKS))).toEqual([`flannel.1: ${why}`]);
    expect(texts(converge(kernel, off).operations)).toEqual([`change offload flannel.1: ${why}`]);
    expect(deviceProblems(off, kernel.dump(NETWORKS))).toEqual([]);
  });

  test("adopts what flanneld left, in place", () => {
    const kernel = freshKernel();
    converge(kernel, desiredFor(IPV4, [1, 2, 3]));
    disguise(kernel);
    const { operations } = converge(kernel, desired);
    expect(texts(operations)).toEqual([
      "change link flannel.1: to mark it as ours",
      "replace route 10.244.2.0/24: another route stands there (protocol 3, ifindex 2)",
      "replace route 10.244.3.0/24: another route stands there (protocol 3, ifindex 2)",
      "delete neighbour 10.244.4.0 at 02:04:00:00:00:03: no lease has it",
      "delete forwarding 02:04:00:00:00:03 to 198.18.0.4: no lease has it",
      "delete route 10.244.4.0/24: no lease has it",
    ]);
  });

  test("changes a peer with a new MAC and public address in place", () => {
    const kernel = settledKernel();
    const moved = desiredFor(IPV4, [1, 2]);
    const [device] = moved.devices;
    const neighbours = new Map(device?.neighbours).set(peer(1).address, exampleMac(4, 9));
    const forwarding = new Map(device?.forwarding).set(exampleMac(4, 2), examplePublicIP(4, 9));
    const devices = device ? [{ ...device, neighbours, forwarding }] : [];
    expect(texts(converge(kernel, { ...moved, devices }).operations)).toEqual([
      "replace neighbour 10.244.2.0 at 02:04:00:00:00:09: it is 02:04:00:00:00:01",
      "replace forwarding 02:04:00:00:00:02 to 198.18.0.10: it points to 198.18.0.3",
    ]);
  });

  test("reports a device that somebody else's keeps from being made, and goes on with the other family", () => {
    const kernel = freshKernel();
    kernel.addLink({
      ...PLAIN_LINK,
      name: "vx",
      kind: "vxlan",
      vxlan: {
        vni: 1,
        port: 8472,
        local: examplePublicIP(4, 0),
        underlay: UNDERLAY,
        group: undefined,
        learning: false,
        gbp: false,
        l2miss: false,
      },
    });
    const refusals: [string, string][] = [];
    converge(kernel, desiredFor([4, 6], [1]), { prune: true }, (operation, refused) => {
      if (refused !== undefined) refusals.push([describeOperation(operation), refused]);
    });
    expect(new Set(refusals.map(String))).toEqual(new Set(["add link flannel.1: it is missing,EEXIST"]));
    expect(kernel.link("vx")).toBeDefined();
    expect(kernel.routes.some(({ destination }) => destination.address === exampleSubnet(6, 1).address)).toBe(true);
  });

  test("removes an IPv6 route that leads the gateway elsewhere before ours", () => {
    const kernel = settledKernel(IPV6);
    const desired6 = desiredFor(IPV6, [1, 2]);
    const foreign = exampleRoute({ destination: exampleSubnet(6, 1), index: UNDERLAY, protocol: 4 });
    expect(kernel.addRoute(foreign, "replace")).toBeUndefined();
    const why = "another route stands there (protocol 4, ifindex 1)";
    expect(texts(converge(kernel, desired6).operations)).toEqual([
      `delete route fd00:10:244:2::/64: ${why}`,
      `replace route fd00:10:244:2::/64: ${why}`,
    ]);
  });

  test("leaves the metric that IPv6 gives by itself, and no other", () => {
    const kernel = settledKernel(IPV6);
    const desired6 = desiredFor(IPV6, [1, 2]);
    const [route] = kernel.routes.filter(({ destination }) => destination.address === exampleSubnet(6, 1).address);
    expect(route?.priority).toBe(1024);
    expect(texts(new Comparison(desired6, kernel.dump(NETWORKS), { prune: true }).all())).toEqual([]);
    if (route) kernel.addRoute({ ...route, priority: 50 }, "first");
    expect(texts(new Comparison(desired6, kernel.dump(NETWORKS), { prune: true }).all())).toEqual([]);
  });
});
