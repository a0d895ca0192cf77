import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Netns } from "../support/netns.ts";
import { Overlay } from "../support/overlay.ts";
import { type Ping, startPing } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** the bound for a repair, in milliseconds */
const REPAIR_MS = 1_000;

describeInNamespaces("drift in a running overlay", () => {
  const overlay = new Overlay(useTemporaryFolder().path);
  let ping: Ping;
  let ns: Netns;

  beforeAll(async () => {
    await overlay.create(3);
    await overlay.start();
    await overlay.attachPods();
    ns = overlay.node(1).ns;
  });

  afterAll(() => overlay[Symbol.dispose]());

  const deviceIndex = async (): Promise<string> =>
    (await ns.exec(["ip", "-o", "link", "show", "flannel.1"])).split(":")[0] ?? "";
  /** The kernel's state without what changes by itself. */
  const picture = async (): Promise<string> => {
    const device = await ns.exec(["ip", "-d", "link", "show", "flannel.1"]);
    const parts = [
      device.replace(/^\d+: /, ""),
      (await ns.exec(["ip", "-4", "-o", "address", "show", "dev", "flannel.1"])).replace(/^\d+: /, ""),
      await ns.exec(["ip", "-4", "route", "show"]),
      (await ns.exec(["ip", "neigh", "show", "dev", "flannel.1", "nud", "permanent"])).split("\n").sort().join("\n"),
      (await ns.exec(["bridge", "fdb", "show", "dev", "flannel.1"])).split("\n").sort().join("\n"),
    ];
    return parts.join("\n");
  };

  const peerMac = async (): Promise<string> => (await overlay.node(2).agent.state()).lease?.ipv4.vtepMAC ?? "";
  const peerSubnet = async (): Promise<string> => (await overlay.node(2).agent.state()).lease?.ipv4.subnet ?? "";

  /** What somebody does to the node's network, as one shell line each. The agent may mend it already between two commands. */
  const tampering: Record<string, () => Promise<string>> = {
    "routes flushed": async () => "ip route flush dev flannel.1",
    "neighbours flushed": async () => "ip neigh flush dev flannel.1 nud all",
    "a forwarding entry deleted": async () => `bridge fdb del ${await peerMac()} dev flannel.1`,
    "a forwarding entry pointed elsewhere": async () =>
      `bridge fdb replace ${await peerMac()} dev flannel.1 dst 192.0.2.99 self permanent`,
    "a forwarding entry that will age": async () =>
      `bridge fdb replace ${await peerMac()} dev flannel.1 dst 192.0.2.2 self dynamic`,
    "a neighbour with another MAC": async () =>
      `ip neigh replace ${(await peerSubnet()).replace("/24", "")} lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent`,
    "a route replaced by another": async () => `ip route replace ${await peerSubnet()} dev eth0`,
    "a route put before ours": async () => `ip route prepend ${await peerSubnet()} dev eth0`,
    "the device set down": async () => "ip link set flannel.1 down",
    "the device deleted": async () => "ip link del flannel.1",
    "its MAC changed": async () => "ip link set flannel.1 address 02:00:00:00:00:77",
    "its MTU changed": async () => "ip link set flannel.1 mtu 1200",
    "its address deleted": async () => "ip address flush dev flannel.1",
    "its address replaced": async () => "ip address flush dev flannel.1; ip address add 10.244.99.9/32 dev flannel.1",
    "a second address of the pod network on it": async () => "ip address add 10.244.99.9/24 dev flannel.1",
    "the device replaced by one of another VNI": async () =>
      "ip link del flannel.1; ip link add flannel.1 type vxlan id 7 dstport 8472 local 192.0.2.1 dev eth0; ip link set flannel.1 up || true",
    "the device replaced by one of another kind": async () =>
      "ip link del flannel.1; ip link add flannel.1 type bridge; ip link set flannel.1 up || true",
    "the device renamed": async () => "ip link set flannel.1 down; ip link set flannel.1 name elsewhere || true",
    "the device set down and all of its entries flushed": async () =>
      "ip link set flannel.1 down; ip neigh flush dev flannel.1 nud all; ip address flush dev flannel.1",
  };

  for (const [name, command] of Object.entries(tampering)) {
    test(`${name}: repaired within a second`, async () => {
      const before = await picture();
      const driftsBefore = (await overlay.node(1).agent.state()).reconcile.driftsFound;
      ping = startPing(overlay.node(1).pod, overlay.node(2).podAddress);
      await ping.answers(5, 15_000);
      const line = await command();
      const spoiltAt = Date.now();
      await ns.exec(["sh", "-c", line]);
      await eventually(async () => (await picture()) === before, {
        within: REPAIR_MS,
        what: "the kernel's state is as before",
      });
      await ping.answers(5, REPAIR_MS);
      expect((await ping.stop(spoiltAt)).longestGapMs).toBeLessThan(REPAIR_MS);
      // It is told when the turn that mends it ends.
      const { agent } = overlay.node(1);
      await eventually(async () => (await agent.state()).reconcile.driftsFound > driftsBefore, {
        within: 5_000,
        what: "the drift is counted",
      });
      await agent.ready();
    });
  }

  test("a device that can be mended keeps its index", async () => {
    const before = await deviceIndex();
    await ns.exec(["sh", "-c", "ip link set flannel.1 down mtu 1300 address 02:00:00:00:00:55"]);
    // Its parts come back one after the other.
    await eventually(async () => /,UP.* mtu 1450 /.test(await ns.exec(["ip", "link", "show", "flannel.1"])), {
      within: REPAIR_MS,
      what: "the MTU is back, and the device is up",
    });
    expect(await deviceIndex()).toBe(before);
  });

  test("what is not tartan's is left alone", async () => {
    await ns.exec([
      "sh",
      "-c",
      "ip route add 203.0.113.0/24 dev flannel.1; ip route add 10.244.77.0/24 via 192.0.2.50; ip address add 198.51.100.1/32 dev flannel.1",
    ]);
    await ns.exec([
      "sh",
      "-c",
      "ip route flush dev flannel.1 proto 112; ip route del 203.0.113.0/24; ip route add 203.0.113.0/24 dev flannel.1",
    ]);
    await overlay.node(1).agent.settled(3);
    const routes = await ns.exec(["ip", "route", "show"]);
    expect(routes).toContain("203.0.113.0/24 dev flannel.1");
    expect(routes).toContain("10.244.77.0/24 via 192.0.2.50");
    expect(await ns.exec(["ip", "address", "show", "dev", "flannel.1"])).toContain("198.51.100.1/32");
  });

  test("the MTU follows the external interface", async () => {
    await ns.exec(["ip", "link", "set", "eth0", "mtu", "1400"]);
    await eventually(async () => (await ns.exec(["ip", "link", "show", "flannel.1"])).includes("mtu 1350"), {
      within: REPAIR_MS,
      what: "the device has the new MTU",
    });
    await eventually(
      async () => (await Bun.file(overlay.node(1).agent.subnetFile).text()).includes("FLANNEL_MTU=1350"),
      {
        within: REPAIR_MS,
        what: "subnet.env has the new MTU",
      },
    );
    await ns.exec(["ip", "link", "set", "eth0", "mtu", "1500"]);
    await eventually(
      async () => (await Bun.file(overlay.node(1).agent.subnetFile).text()).includes("FLANNEL_MTU=1450"),
      {
        within: REPAIR_MS,
        what: "subnet.env has the old MTU again",
      },
    );
  });

  test("subnet.env that was removed or changed is written again", async () => {
    const { subnetFile } = overlay.node(1).agent;
    const before = await Bun.file(subnetFile).text();
    for (const command of [`rm ${subnetFile}`, `echo FLANNEL_MTU=1 > ${subnetFile}`]) {
      await ns.exec(["sh", "-c", command]);
      await eventually(async () => (await Bun.file(subnetFile).text()) === before, {
        within: REPAIR_MS,
        what: `subnet.env is back after ${command}`,
      });
    }
  });
});
