import { afterAll, beforeAll, expect, test } from "bun:test";
import { Ethtool } from "../../src/ffi/ethtool.ts";
import { inNetworkNamespace } from "../../src/ffi/libc.ts";
import { FAMILIES } from "../../src/net/family.ts";
import { Overlay } from "../support/overlay.ts";
import { startPing } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** the bound for a repair, in milliseconds */
const REPAIR_MS = 1_000;

describeInNamespaces("the data path of a dual-stack node", () => {
  const overlay = new Overlay(useTemporaryFolder().path, [4, 6]);

  beforeAll(async () => {
    await overlay.create(2, undefined, ["--ip-blackhole-route", "--vxlan-tx-checksum=off"]);
    await overlay.start();
  });

  afterAll(() => overlay[Symbol.dispose]());

  const restart = async (...flags: string[]) => {
    const { agent } = overlay.node(1);
    await agent.stop();
    agent.flags = flags;
    await agent.start();
    await agent.settled(2);
  };
  const blackholes = async (): Promise<string[]> => {
    const { ns } = overlay.node(1);
    const shown = await Promise.all(
      FAMILIES.map((family) => ns.exec(["ip", `-${family}`, "route", "show", "type", "blackhole"])),
    );
    return shown.flatMap((text) => text.split("\n")).flatMap((line) => line.split(" ")[1] ?? []);
  };
  const ownSubnets = async () => {
    const { lease } = await overlay.node(1).agent.state();
    return [lease?.ipv4.subnet ?? "", lease?.ipv6.subnet ?? ""];
  };

  test("--ip-blackhole-route: the node's subnets have one, which a bridge that comes later overrules", async () => {
    expect(await blackholes()).toEqual(await ownSubnets());
    expect((await overlay.node(1).agent.state()).desired?.blackholes).toEqual(await ownSubnets());
    await overlay.attachPods();
    for (const address of Object.values(overlay.node(2).podAddresses)) {
      const ping = startPing(overlay.node(1).pod, address);
      // The pods' interfaces look for duplicates of their link-local addresses first, and answer nobody until then.
      await ping.answers(10, 20_000);
      await ping.stop();
    }
    expect((await overlay.node(1).agent.state()).reconcile.driftsFound).toBe(0);
  });

  test("--ip-blackhole-route: a route that was deleted is back within a second", async () => {
    const { ns } = overlay.node(1);
    const before = await blackholes();
    for (const [at, family] of FAMILIES.entries()) {
      await ns.exec(["ip", `-${family}`, "route", "delete", "blackhole", before[at] ?? "", "metric", "4294967294"]);
      await eventually(async () => Bun.deepEquals(await blackholes(), before), {
        within: REPAIR_MS,
        what: `the IPv${family} route is back`,
      });
    }
  });

  test("--vxlan-tx-checksum=off: it is off, the state says so, and it is mended within a second", async () => {
    const { agent, ns } = overlay.node(1);
    using ethtool = inNetworkNamespace(ns.path, () => new Ethtool());
    for (const { name, txChecksum } of (await agent.state()).desired?.devices ?? []) {
      expect(txChecksum).toEqual({ wanted: "off", actual: "off", why: "--vxlan-tx-checksum=off" });
      expect(ethtool.txChecksum(name)).toBe(false);
      ethtool.setTxChecksum(name, true);
      await eventually(() => ethtool.txChecksum(name) === false, {
        within: REPAIR_MS,
        what: `${name} has it off again`,
      });
    }
    await agent.settled(2);
  });

  test("without the flags the blackhole routes go, and the offload stays as it is where no fault is known", async () => {
    await restart();
    expect(await blackholes()).toEqual([]);
    const { devices = [] } = (await overlay.node(1).agent.state()).desired ?? {};
    expect(devices).toHaveLength(2);
    for (const { txChecksum } of devices) {
      expect(txChecksum).toMatchObject({ wanted: null, actual: "off" });
      expect(txChecksum.why).toContain("driver veth");
    }
    await restart("--vxlan-tx-checksum=on");
    for (const { txChecksum } of (await overlay.node(1).agent.state()).desired?.devices ?? []) {
      expect(txChecksum).toMatchObject({ wanted: "on", actual: "on" });
    }
  });

  test("a MAC that somebody changes is set back, each time, and once it is said who that usually is", async () => {
    const { agent, ns } = overlay.node(1);
    for (const device of ["flannel.1", "flannel-v6.1"]) {
      const mac = async () => /link\/ether (\S+)/.exec(await ns.exec(["ip", "link", "show", device]))?.[1];
      const before = await mac();
      for (const other of ["02:00:00:00:00:71", "02:00:00:00:00:72"]) {
        await ns.exec(["ip", "link", "set", device, "address", other]);
        await eventually(async () => (await mac()) === before, {
          within: REPAIR_MS,
          what: `${device} has its MAC again`,
        });
        await agent.settled(2);
      }
      await agent.logged(new RegExp(`MAC of ${device},.*MACAddressPolicy=none.*unmanaged-devices`));
    }
  });
});

describeInNamespaces("an external interface whose MTU is too small for IPv6", () => {
  const overlay = new Overlay(useTemporaryFolder().path, [6]);

  afterAll(() => overlay[Symbol.dispose]());

  test("is told, and all is well once it is larger", async () => {
    await overlay.create(1);
    const { agent, ns } = overlay.node(1);
    await ns.exec(["ip", "link", "set", "eth0", "mtu", "1340"]);
    agent.spawn();
    const why = "IPv6 needs an MTU of 1280, the device has 1270";
    await eventually(async () => (await agent.readiness()).reasons.some(({ message }) => message.includes(why)), {
      within: 15_000,
      what: "readiness says what is wrong",
    });
    await ns.exec(["ip", "link", "set", "eth0", "mtu", "1350"]);
    await agent.ready();
    expect(await Bun.file(agent.subnetFile).text()).toContain("FLANNEL_MTU=1280");
  });
});

describeInNamespaces("an external interface whose first address changes", () => {
  const overlay = new Overlay(useTemporaryFolder().path);

  afterAll(() => overlay[Symbol.dispose]());

  test("publishes the address that the kernel puts first, without a full read", async () => {
    await overlay.create(1);
    const { agent, ns } = overlay.node(1);
    await agent.start();
    const before = await agent.state();
    expect(before.lease?.ipv4.publicIP).toBe("192.0.2.1");
    // Of a narrower scope, so it goes before the one that is there.
    await ns.exec(["ip", "address", "add", "198.51.100.1/24", "dev", "eth0", "scope", "link"]);
    await eventually(async () => (await agent.state()).lease?.ipv4.publicIP === "198.51.100.1", {
      within: 15_000,
      what: "the new address is published",
    });
    const after = await agent.state();
    expect(after.lease?.ipv4.subnet).toBe(before.lease?.ipv4.subnet ?? "");
    expect(after.reconcile.fullReads).toBe(before.reconcile.fullReads);
  });
});
