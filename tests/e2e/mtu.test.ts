import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const TOO_SMALL =
  "eth0 has an MTU of 1349, and pods with IPv6 need 1350 there (1280 inside VXLAN): raise the MTU of eth0, or turn IPv6 off " +
  "in the network's configuration (EnableIPv6)";

describeInNamespaces("a Backend.MTU that the underlay does not carry", () => {
  test("is a warning, and the device and subnet.env have what it does carry", async () => {
    using folder = new TemporaryFolder();
    using overlay = new Overlay(folder.path);
    await overlay.create(1, { Network: "10.244.0.0/16", Backend: { Type: "vxlan", MTU: 9000 } });
    const { ns, agent } = overlay.node(1);
    await agent.start();
    expect(await agent.warnings("config")).toEqual([
      "Backend.MTU is 9000, but eth0, which carries the packets, has 1500, and that counts: raise the MTU of eth0, or lower " +
        "Backend.MTU",
    ]);
    await agent.logged("Backend.MTU is 9000");
    const has = async (mtu: number) =>
      (await ns.exec(["ip", "link", "show", "flannel.1"])).includes(` mtu ${mtu} `) &&
      (await Bun.file(agent.subnetFile).text()).includes(`FLANNEL_MTU=${mtu}\n`);
    expect(await has(1450)).toBe(true);
    await ns.exec(["ip", "link", "set", "eth0", "mtu", "9000"]);
    await eventually(() => has(8950), { within: 10_000, what: "the larger MTU is used" });
    await agent.warned("config", false);
  });
});

describeInNamespaces("an underlay too small for IPv6", () => {
  test("is why the node is not ready; subnet.env, by which no pod could be attached, is not written", async () => {
    using folder = new TemporaryFolder();
    using overlay = new Overlay(folder.path, [4, 6]);
    await overlay.create(1);
    const { ns, agent } = overlay.node(1);
    const underlay = (mtu: number) => ns.exec(["ip", "link", "set", "eth0", "mtu", `${mtu}`]);
    const isTold = () =>
      eventually(
        async () => {
          const { ready, reasons } = await agent.readiness();
          return !ready && reasons.some(({ message }) => message === TOO_SMALL);
        },
        { within: 15_000, what: "readiness says that the underlay is too small" },
      );
    await underlay(1349);
    agent.spawn();
    await isTold();
    expect(existsSync(agent.subnetFile)).toBe(false);
    await underlay(1350);
    await agent.ready();
    const before = await Bun.file(agent.subnetFile).text();
    expect(before).toContain("FLANNEL_MTU=1280\n");
    await underlay(1349);
    await isTold();
    expect(await Bun.file(agent.subnetFile).text()).toBe(before);
    await underlay(1500);
    await agent.ready();
    expect(await Bun.file(agent.subnetFile).text()).toBe(before.replace("MTU=1280", "MTU=1430"));
    await agent.settled(1);
  });
});
