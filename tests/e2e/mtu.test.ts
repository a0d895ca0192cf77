import { expect, test } from "bun:test";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

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
    expect(agent.log.match(/Backend\.MTU is 9000/g)).toHaveLength(1);
    const has = async (mtu: number) =>
      (await ns.exec(["ip", "link", "show", "flannel.1"])).includes(` mtu ${mtu} `) &&
      (await Bun.file(agent.subnetFile).text()).includes(`FLANNEL_MTU=${mtu}\n`);
    expect(await has(1450)).toBe(true);
    await ns.exec(["ip", "link", "set", "eth0", "mtu", "9000"]);
    await eventually(() => has(8950), { within: 10_000, what: "the larger MTU is used" });
    expect(await agent.warnings("config")).toEqual([]);
  });
});
