import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Family } from "../../src/net/family.ts";
import type { Netns } from "../support/netns.ts";
import { Overlay } from "../support/overlay.ts";
import { type Ping, startPing } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** the bound for a repair, in milliseconds */
const REPAIR_MS = 1_000;

const DEVICES: Readonly<Record<Family, string>> = { 4: "flannel.1", 6: "flannel-v6.1" };
const MTUS: Readonly<Record<Family, number>> = { 4: 1450, 6: 1430 };
/** bytes of the IP and the ICMP header */
const HEADERS: Readonly<Record<Family, number>> = { 4: 28, 6: 48 };

const OVERLAYS: readonly (readonly [string, readonly Family[], RegExp])[] = [
  [
    "IPv6",
    [6],
    /^FLANNEL_IPV6_NETWORK=fd00:10:244::\/48\nFLANNEL_IPV6_SUBNET=fd00:10:244:[0-9a-f]+::1\/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\nTARTAN_DEVICES=flannel-v6.1\n$/,
  ],
  [
    "both families",
    [4, 6],
    /^FLANNEL_NETWORK=10.244.0.0\/16\nFLANNEL_SUBNET=10.244.\d+.1\/24\nFLANNEL_IPV6_NETWORK=fd00:10:244::\/48\nFLANNEL_IPV6_SUBNET=fd00:10:244:[0-9a-f]+::1\/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\nTARTAN_DEVICES=flannel.1,flannel-v6.1\n$/,
  ],
];

for (const [name, families, subnetFile] of OVERLAYS) {
  describeInNamespaces(`an overlay of ${name}`, () => {
    const overlay = new Overlay(useTemporaryFolder().path, families);
    let ns: Netns;

    beforeAll(async () => {
      await overlay.create(3);
      await overlay.start();
      await overlay.attachPods();
      ns = overlay.node(1).ns;
      // The pods' interfaces look for duplicates of their link-local addresses first, and answer nobody until then.
      for (const ping of await startPings(20_000)) await ping.stop();
    });

    afterAll(() => overlay[Symbol.dispose]());

    const podOf = (number: number, family: Family) => overlay.node(number).podAddresses[family] ?? "";
    const startPings = async (within = 15_000): Promise<Ping[]> => {
      const pings = families.map((family) => startPing(overlay.node(1).pod, podOf(2, family)));
      for (const ping of pings) await ping.answers(10, within);
      return pings;
    };
    const index = async (device: string) => (await ns.exec(["ip", "-o", "link", "show", device])).split(":")[0] ?? "";
    /** The kernel's state of one family without what changes by itself. */
    const picture = async (family: Family): Promise<string> => {
      const device = DEVICES[family];
      const sorted = async (...command: string[]) => (await ns.exec(command)).split("\n").sort();
      const parts = [
        (await ns.exec(["ip", "-d", "link", "show", device])).replace(/^\d+: /, ""),
        (await ns.exec(["ip", `-${family}`, "-o", "address", "show", "dev", device, "scope", "global"])).replace(
          /^\d+: /,
          "",
        ),
        ...(await sorted("ip", `-${family}`, "route", "show", "dev", device)).filter(
          (line) => !line.includes("proto kernel"),
        ),
        ...(await sorted("ip", `-${family}`, "neigh", "show", "dev", device, "nud", "permanent")),
        ...(await sorted("bridge", "fdb", "show", "dev", device)),
      ];
      return parts.join("\n");
    };

    test("is ready without a warning, and subnet.env has the families and the smaller MTU", async () => {
      const { agent } = overlay.node(1);
      expect(await agent.readiness()).toMatchObject({ ready: true, reasons: [] });
      // A node that came up late may not have answered the first probes; the next ones tell.
      await eventually(async () => (await agent.readiness()).warnings.length === 0, {
        within: 30_000,
        what: "there is no warning",
      });
      expect(await Bun.file(overlay.node(1).agent.subnetFile).text()).toMatch(subnetFile);
    });

    for (const family of families) {
      const device = DEVICES[family];

      test(`IPv${family}: every pod reaches every other, with packets as large as the MTU says`, async () => {
        const { devices = [] } = (await overlay.node(1).agent.state()).desired ?? {};
        expect(devices.find((one) => one.name === device)?.mtu).toBe(MTUS[family]);
        const largest = `${Math.min(...families.map((each) => MTUS[each])) - HEADERS[family]}`;
        for (const from of overlay.nodes) {
          for (const to of overlay.nodes) {
            const address = to.podAddresses[family] ?? "";
            await from.pod.exec(["ping", "-n", "-c", "2", "-i", "0.1", "-W", "10", "-M", "do", "-s", largest, address]);
          }
        }
      });

      test(`IPv${family}: the device's address can be used from the first moment on`, async () => {
        const shown = await ns.exec(["ip", `-${family}`, "-o", "address", "show", "dev", device, "scope", "global"]);
        expect(shown).toContain(family === 4 ? "/32" : "::/128");
        expect(shown).not.toMatch(/tentative|dadfailed/);
        // From the node itself, which takes the device's address.
        await ns.exec(["ping", "-n", "-c", "1", "-W", "10", podOf(2, family)]);
      });

      const six = family === 6 ? "-6 " : "";
      const tampering: Record<string, string> = {
        "routes flushed": `ip ${six}route flush dev ${device} proto all`,
        "neighbours flushed": `ip ${six}neigh flush dev ${device} nud all`,
        "the device set down": `ip link set ${device} down`,
        "the device deleted": `ip link del ${device}`,
        "its MTU changed": `ip link set ${device} mtu 1300`,
        "its address deleted": `ip ${six}address flush dev ${device} scope global`,
      };
      for (const [what, command] of Object.entries(tampering)) {
        test(`IPv${family}: ${what}: repaired within a second`, async () => {
          const before = await picture(family);
          const pings = await startPings();
          const spoiltAt = Date.now();
          await ns.exec(["sh", "-c", command]);
          await eventually(async () => (await picture(family)) === before, {
            within: REPAIR_MS,
            what: "the kernel's state is as before",
          });
          for (const ping of pings) await ping.answers(5, REPAIR_MS);
          const gaps = await Promise.all(pings.map(async (ping) => (await ping.stop(spoiltAt)).longestGapMs));
          for (const gap of gaps) expect(gap).toBeLessThan(REPAIR_MS);
        });
      }
    }

    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      test(`${signal} and a start: no packet is lost, the devices and the lease stay`, async () => {
        const { agent } = overlay.node(1);
        const known = async () => ({
          indices: await Promise.all(families.map((family) => index(DEVICES[family]))),
          lease: (await agent.state()).lease,
        });
        const before = await known();
        const pings = await startPings();
        await agent.stop(signal);
        for (const ping of pings) await ping.answers(10, 15_000);
        await agent.start();
        await agent.settled(3);
        for (const ping of pings) await ping.answers(10, 15_000);
        for (const ping of pings) {
          const { sent, received } = await ping.stop();
          expect(received).toBe(sent);
        }
        expect(await known()).toEqual(before);
        expect((await agent.state()).reconcile.driftsFound).toBe(0);
      });
    }
  });
}

describeInNamespaces("an overlay that gets IPv6 beside IPv4", () => {
  const overlay = new Overlay(useTemporaryFolder().path, [4, 6]);

  afterAll(() => overlay[Symbol.dispose]());

  test("keeps its IPv4 subnets and devices, and loses no packet", async () => {
    await overlay.create(2, { Network: "10.244.0.0/16", Backend: { Type: "vxlan" } });
    await overlay.start();
    await overlay.attachPods();
    const { agent, ns, pod } = overlay.node(1);
    const subnets = async () => (await agent.leases()).map(({ ipv4 }) => ipv4.subnet).sort();
    const before = [await subnets(), await ns.exec(["ip", "-o", "link", "show", "flannel.1"])];
    const ping = startPing(pod, overlay.node(2).podAddress);
    await ping.answers(10, 15_000);
    const dual = {
      Network: "10.244.0.0/16",
      EnableIPv6: true,
      IPv6Network: "fd00:10:244::/48",
      Backend: { Type: "vxlan" },
    };
    await Bun.write(overlay.netConf, JSON.stringify(dual));
    for (const node of overlay.nodes) {
      await node.agent.stop();
      await node.agent.start();
    }
    for (const node of overlay.nodes) await node.agent.settled(2);
    await ping.answers(10, 15_000);
    const { sent, received } = await ping.stop();
    expect(received).toBe(sent);
    expect([await subnets(), await ns.exec(["ip", "-o", "link", "show", "flannel.1"])]).toEqual(before);
    expect(await ns.exec(["ip", "-6", "route", "show", "dev", "flannel-v6.1", "proto", "all"])).toContain("onlink");
  });
});
