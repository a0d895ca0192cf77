import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import type { VxlanOptions } from "../../src/config/network.ts";
import { KernelError } from "../../src/ffi/errors.ts";
import { labelOf } from "../../src/kernel/apply.ts";
import type { Family } from "../../src/net/family.ts";
import { DUAL, exampleMac, IPV4, IPV6 } from "../desired/examples.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { desiredOn, inside, KernelNode, summaryOf } from "./real-kernel.ts";

describeInNamespaces("the devices", () => {
  test.each<[string, readonly Family[], Partial<VxlanOptions>]>([
    ["IPv4", IPV4, {}],
    ["IPv6", IPV6, {}],
    ["both families", DUAL, {}],
    ["another port", IPV4, { port: 4789 }],
    ["GBP", IPV4, { gbp: true }],
    ["learning", IPV4, { learning: true }],
    ["an MTU", IPV4, { mtu: 1400 }],
    ["everything at once", DUAL, { port: 4789, gbp: true, learning: true, mtu: 1400 }],
  ])("are made with %s, with all that belongs on them and nothing beyond", async (_, families, backend) => {
    await using node = await KernelNode.create(families);
    const desired = desiredOn(node, families, [1, 2, 3], backend);
    const report = await node.reconcile(desired);
    expect(report).toMatchObject({ settled: true, failed: [] });
    expect(await node.summary(desired)).toEqual(summaryOf(desired));
    // What was just made is known by the copy: nothing is read again and nothing is left to do.
    expect([...(await node.reconcile(desired)).done]).toEqual([]);
    expect(node.reconciler.fullReads).toBe(1);
    expect(node.reconciler.deviceProblems()).toEqual([]);
  });

  test.each<[string, Partial<VxlanOptions>]>([
    ["port", { port: 4789 }],
    ["GBP", { gbp: true }],
  ])("are made anew for another %s, with all that was on them", async (_, backend) => {
    await using node = await KernelNode.create();
    await node.reconcile(desiredOn(node, IPV4, [1, 2]));
    const before = await node.link("flannel.1");
    const desired = desiredOn(node, IPV4, [1, 2], backend);
    expect(await node.reconcile(desired)).toMatchObject({ settled: true, failed: [] });
    expect(await node.summary(desired)).toEqual(summaryOf(desired));
    expect((await node.link("flannel.1"))?.ifindex).not.toBe(before?.ifindex);
  });

  test.each<[string, Partial<VxlanOptions>]>([
    ["learning", { learning: true }],
    ["MTU", { mtu: 1400 }],
  ])("are changed in place for another %s", async (_, backend) => {
    await using node = await KernelNode.create();
    await node.reconcile(desiredOn(node, IPV4, [1, 2]));
    const before = await node.link("flannel.1");
    const desired = desiredOn(node, IPV4, [1, 2], backend);
    const report = await node.reconcile(desired);
    expect(report.settled).toBe(true);
    expect([...report.done]).toEqual([["link-change", 1]]);
    expect(await node.summary(desired)).toEqual(summaryOf(desired));
    expect((await node.link("flannel.1"))?.ifindex).toBe(before?.ifindex ?? 0);
  });

  test("follow their underlay and its address in place", async () => {
    await using node = await KernelNode.create();
    const first = desiredOn(node, IPV4, [1]);
    await node.reconcile(first);
    const before = await node.link("flannel.1");
    await node.batch("ip", [
      "link add eth1 type veth peer name eth1p",
      "link set eth1 up",
      "address add 198.18.5.5/32 dev eth1",
    ]);
    const eth1 = await node.link("eth1");
    const desired = {
      ...first,
      devices: first.devices.map((device) => ({
        ...device,
        underlay: eth1?.ifindex ?? 0,
        local: "198.18.5.5" as typeof device.local,
      })),
    };
    expect(await node.reconcile(desired)).toMatchObject({ settled: true, failed: [] });
    const after = await node.link("flannel.1");
    expect(after?.linkinfo?.info_data).toMatchObject({ link: "eth1", local: "198.18.5.5" });
    expect(after?.ifindex).toBe(before?.ifindex ?? 0);
    expect(await node.summary(desired)).toEqual(summaryOf(desired));
  });

  test("take no router advertisements", async () => {
    await using node = await KernelNode.create(DUAL);
    await node.reconcile(desiredOn(node, DUAL, []));
    await inside(node.ns, async () => {
      for (const name of ["flannel.1", "flannel-v6.1"]) {
        expect(readFileSync(`/proc/sys/net/ipv6/conf/${name}/accept_ra`, "utf8").trim()).toBe("0");
      }
      expect(readFileSync("/proc/sys/net/ipv6/conf/eth0/accept_ra", "utf8").trim()).toBe("1");
    });
    expect(existsSync("/proc/sys/net/ipv6/conf/flannel-v6.1")).toBe(false);
  });

  test("that are ours and no longer wanted go with the leave to prune, and stay without", async () => {
    await using node = await KernelNode.create(DUAL);
    await node.reconcile(desiredOn(node, DUAL, [1]));
    await node.ip("link", "add", "flannel.9", "type", "vxlan", "id", "9", "dstport", "8472", "dev", "eth0");
    const desired = desiredOn(node, IPV4, [1]);
    expect([...(await node.reconcile(desired, false)).done]).toEqual([]);
    expect(await node.link("flannel-v6.1")).toBeDefined();
    expect(await node.reconcile(desired)).toMatchObject({ settled: true, failed: [] });
    expect(await node.link("flannel-v6.1")).toBeUndefined();
    expect(await node.link("flannel.9")).toBeDefined();
  });

  test("replace one of another kind, another VNI, with a group, or for the other family", async () => {
    await using node = await KernelNode.create(DUAL);
    const desired = desiredOn(node, DUAL, [1]);
    const obstacles = [
      ["link add flannel.1 type bridge", "link set flannel.1 up", "address add 10.244.1.1/24 dev flannel.1"],
      ["link add flannel.1 type vxlan id 77 dstport 8472 local 198.18.0.1 dev eth0"],
      ["link add flannel.1 type vxlan id 1 dstport 8472 group 239.1.1.1 dev eth0"],
      ["link add flannel.1 type vxlan id 1 dstport 8472 local 198.18.0.1 dev eth0 l2miss"],
      ["link add flannel-v6.1 type vxlan id 1 dstport 8472 local 198.18.0.1 dev eth0"],
      ["link add flannel.1 type vxlan id 1 dstport 8472 local fd00:18::1 dev eth0"],
    ];
    for (const lines of obstacles) {
      for (const { name } of desired.devices) await node.ip("link", "delete", name).catch(() => {});
      await node.batch("ip", lines);
      await node.told();
      expect(await node.reconcile(desired)).toMatchObject({ settled: true });
      expect(await node.summary(desired)).toEqual(summaryOf(desired));
    }
  });

  test("take over one that is compatible, in place", async () => {
    await using node = await KernelNode.create();
    await node.batch("ip", [
      "link add flannel.1 address 02:04:00:00:00:77 type vxlan id 1 dstport 8472 local 198.18.0.9 learning",
      "link set flannel.1 mtu 1300",
      "address add 10.244.1.0/24 dev flannel.1",
      "address add 192.0.2.1/24 dev flannel.1",
    ]);
    const before = await node.link("flannel.1");
    const desired = desiredOn(node, IPV4, [1]);
    expect(await node.reconcile(desired)).toMatchObject({ settled: true, failed: [] });
    expect((await node.link("flannel.1"))?.ifindex).toBe(before?.ifindex ?? 0);
    const { addresses, ...rest } = await node.summary(desired);
    expect({ ...rest, addresses: [] }).toEqual({ ...summaryOf(desired), addresses: [] });
    // An address outside of the pod network is somebody else's.
    expect(addresses).toEqual(["flannel.1 10.244.1.0/32", "flannel.1 192.0.2.1/24"]);
  });

  test("that can't be made are reported with the operation, the object and the errno, and stop nothing else", async () => {
    await using node = await KernelNode.create(DUAL);
    await node.ip("link", "add", "taken", "type", "vxlan", "id", "1", "dstport", "8472", "local", "198.18.0.1");
    const desired = desiredOn(node, DUAL, [1]);
    const report = await node.reconcile(desired);
    expect(report.settled).toBe(false);
    const [failure] = report.failed;
    expect(failure && labelOf(failure.operation)).toEqual({ operation: "add link", object: "flannel.1" });
    expect(failure?.error).toBeInstanceOf(KernelError);
    expect(failure?.error.message).toMatch(/^add link flannel\.1: EEXIST \(.*VNI.*\)$/);
    expect(failure?.error).toMatchObject({ errnoName: "EEXIST" });
    expect(report.failed).toHaveLength(1);
    // The other family is there.
    const { devices, routes } = await node.summary(desired);
    expect(devices.map((line) => line.split(" ")[0])).toEqual(["flannel-v6.1"]);
    expect(routes).toHaveLength(1);
    expect(node.reconciler.deviceProblems()).toEqual(["flannel.1: it is missing"]);
    // Once it is free, the rest follows.
    await node.ip("link", "delete", "taken");
    expect(await node.reconcile(desired)).toMatchObject({ settled: true, failed: [] });
    expect(await node.summary(desired)).toEqual(summaryOf(desired));
  });

  test("keep the MAC of the lease, set in place", async () => {
    await using node = await KernelNode.create();
    await node.reconcile(desiredOn(node, IPV4, [1, 2]));
    const before = await node.link("flannel.1");
    const first = desiredOn(node, IPV4, [1, 2]);
    const desired = { ...first, devices: first.devices.map((device) => ({ ...device, mac: exampleMac(4, 77) })) };
    expect(await node.reconcile(desired)).toMatchObject({ settled: true, failed: [] });
    // The kernel drops the neighbours with the MAC; they are back.
    expect(await node.summary(desired)).toEqual(summaryOf(desired));
    expect((await node.link("flannel.1"))?.ifindex).toBe(before?.ifindex ?? 0);
  });
});
