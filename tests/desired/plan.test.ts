import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { VxlanOptions } from "../../src/config/network.ts";
import type { Desired } from "../../src/desired/desired.ts";
import { plan } from "../../src/desired/plan.ts";
import { isOwnProtocol, routeProtocol } from "../../src/desired/route-protocol.ts";
import { mtuWarning } from "../../src/desired/vxlan.ts";
import type { Lease } from "../../src/lease/lease.ts";
import { FAMILIES, type Family } from "../../src/net/family.ts";
import { formatPrefix, makePrefix } from "../../src/net/prefix.ts";
import { anyPrefix } from "../net/arbitraries.ts";
import { address, prefix } from "../net/values.ts";
import {
  DUAL,
  exampleInput,
  exampleLease,
  exampleMac,
  examplePublicIP,
  exampleSubnet,
  IPV4,
  IPV6,
  NETWORKS,
  perFamily,
  planned,
} from "./examples.ts";

describe.each<[string, Family]>([
  ["IPv4", 4],
  ["IPv6", 6],
])("an %s network", (_, family) => {
  const peers = [exampleLease([family], 1), exampleLease([family], 2)];

  test("has one device with everything on it", () => {
    const { devices } = planned(exampleInput([family], peers));
    expect(devices).toEqual([
      {
        family,
        name: family === 4 ? "flannel.1" : "flannel-v6.1",
        vni: 1,
        port: undefined,
        gbp: false,
        learning: false,
        mac: exampleMac(family, 0),
        mtu: family === 4 ? 1450 : 1430,
        local: examplePublicIP(family, 0),
        underlay: 2,
        txChecksum: { why: "left as it is" },
        address: exampleSubnet(family, 0).address,
        network: NETWORKS[family],
        neighbours: new Map([1, 2].map((n) => [exampleSubnet(family, n).address, exampleMac(family, n)])),
        forwarding: new Map([1, 2].map((n) => [exampleMac(family, n), examplePublicIP(family, n)])),
      },
    ]);
  });

  test("has a route to each peer's subnet, by the subnet's first address", () => {
    const { routes, networks, skipped } = planned(exampleInput([family], peers));
    expect([...routes.keys()]).toEqual([1, 2].map((n) => formatPrefix(exampleSubnet(family, n))));
    for (const [key, route] of routes) {
      expect(route).toEqual({
        destination: prefix(key),
        gateway: prefix(key).address,
        device: family === 4 ? "flannel.1" : "flannel-v6.1",
        onlink: true,
        protocol: routeProtocol(prefix(key)),
      });
    }
    expect(networks).toEqual({ [family]: NETWORKS[family] });
    expect(skipped).toEqual([]);
  });

  test("takes the device's options from the backend and the interface", () => {
    const backend: Partial<VxlanOptions> = { vni: 4096, port: 4789, gbp: true, learning: true, mtu: 1400 };
    const [device] = planned(exampleInput([family], [], { backend, external: { index: 7 } })).devices;
    expect(device).toMatchObject({
      name: family === 4 ? "flannel.4096" : "flannel-v6.4096",
      vni: 4096,
      port: 4789,
      gbp: true,
      learning: true,
      mtu: family === 4 ? 1350 : 1330,
      underlay: 7,
    });
  });

  test("has no larger MTU than the underlay carries, whatever is configured, and that is told", () => {
    const input = exampleInput([family], [], { backend: { mtu: 9000 } });
    expect(planned(input).devices[0]?.mtu).toBe(family === 4 ? 1450 : 1430);
    expect(mtuWarning({ mtu: 9000 }, input.external)).toStartWith("Backend.MTU is 9000, but eth0, which carries");
    expect(mtuWarning({ mtu: 1500 }, input.external)).toBeUndefined();
    expect(mtuWarning({ mtu: undefined }, input.external)).toBeUndefined();
  });

  test("has a blackhole route for the node's own subnet when that is asked for", () => {
    const blackholesWith = (blackholeRoute: boolean) =>
      planned(exampleInput([family], peers, { settings: { blackholeRoute } })).blackholes;
    expect(blackholesWith(true)).toEqual([exampleSubnet(family, 0)]);
    expect(blackholesWith(false)).toEqual([]);
  });

  test("has on its device what was chosen for its family's checksums", () => {
    const txChecksum = { 4: { wanted: true, why: "four" }, 6: { wanted: false, why: "six" } };
    const [device] = planned(exampleInput([family], [], { settings: { txChecksum } })).devices;
    expect(device?.txChecksum).toEqual(txChecksum[family]);
  });

  test("follows the interface's MTU", () => {
    const [device] = planned(exampleInput([family], [], { external: { mtu: 1400 } })).devices;
    expect(device?.mtu).toBe(family === 4 ? 1350 : 1330);
  });

  test.each<[string, (lease: Lease) => Partial<Lease>, string]>([
    [
      "another VNI",
      ({ vteps }) => ({
        vteps: perFamily([family], () => ({ vni: 7, mac: vteps[family]?.mac ?? exampleMac(family, 9) })),
      }),
      "its VNI is 7, ours is 1",
    ],
    ["another backend", () => ({ backendType: "host-gw", vteps: {} }), "its backend is host-gw, ours is vxlan"],
    ["no public address", () => ({ publicIPs: {} }), `it has no IPv${family} VTEP or public address`],
    ["no VTEP", () => ({ vteps: {} }), `it has no IPv${family} VTEP or public address`],
    ["no subnet", () => ({ subnets: {} }), `it has no IPv${family} subnet`],
    [
      "a subnet of one address",
      ({ subnets }) => ({
        subnets: perFamily([family], () =>
          makePrefix((subnets[family] ?? NETWORKS[family]).address, family === 4 ? 32 : 128),
        ),
      }),
      `its subnet ${exampleSubnet(family, 1).address}/${family === 4 ? 32 : 128} has no room for pods`,
    ],
  ])("leaves out a peer with %s, says why, and keeps the others", (_, change, reason) => {
    const lease = exampleLease([family], 1);
    const { devices, routes, skipped } = planned(
      exampleInput([family], [{ ...lease, ...change(lease) }, exampleLease([family], 2)]),
    );
    expect(skipped).toEqual([{ key: "node-1", node: "node-1", reason }]);
    expect([...routes.keys()]).toEqual([formatPrefix(exampleSubnet(family, 2))]);
    expect([...(devices[0]?.neighbours.keys() ?? [])]).toEqual([exampleSubnet(family, 2).address]);
    expect([...(devices[0]?.forwarding.keys() ?? [])]).toEqual([exampleMac(family, 2)]);
  });
});

describe("a dual-stack network", () => {
  test("is what the two families make each by itself", () => {
    const both = planned(exampleInput(DUAL, [exampleLease(DUAL, 1), exampleLease(DUAL, 2)]));
    const each = [IPV4, IPV6].map((families) =>
      planned(exampleInput(families, [exampleLease(families, 1), exampleLease(families, 2)])),
    );
    expect(both.devices).toEqual(each.flatMap(({ devices }) => devices));
    expect([...both.routes]).toEqual(each.flatMap(({ routes }) => [...routes]));
    expect(both.networks).toEqual(NETWORKS);
    expect(both.skipped).toEqual([]);
  });

  test("takes of a peer with one family that one, and says what it lacks", () => {
    const { devices, skipped } = planned(exampleInput(DUAL, [exampleLease(IPV4, 1)]));
    expect(devices.map(({ neighbours }) => neighbours.size)).toEqual([1, 0]);
    expect(skipped).toEqual([{ key: "node-1", node: "node-1", reason: "it has no IPv6 subnet" }]);
  });

  test.each<[string, Parameters<typeof exampleInput>[2]]>([
    ["lease", { own: { subnets: { 4: exampleSubnet(4, 0) } } }],
    ["interface", { external: { addresses: { 4: examplePublicIP(4, 0) } } }],
  ])("whose %s here has one family only gets that one", (_, options) => {
    const { devices, routes, skipped } = planned(exampleInput(DUAL, [exampleLease(DUAL, 1)], options));
    expect(devices.map(({ name }) => name)).toEqual(["flannel.1"]);
    expect([...routes.keys()]).toEqual(["10.244.2.0/24"]);
    expect(skipped).toEqual([{ key: "node-0", reason: "this node's lease or interface has no IPv6 part" }]);
  });
});

describe("the plan", () => {
  test("holds nothing for our own lease, not even in a fresh copy", () => {
    const input = exampleInput(IPV4, []);
    const { routes, devices } = planned({ ...input, leases: input.leases.map((lease) => ({ ...lease })) });
    expect(routes.size).toBe(0);
    expect(devices[0]?.forwarding.size).toBe(0);
  });

  test.each<[string, Partial<Lease>, string]>([
    ["subnet", { subnets: { 4: exampleSubnet(4, 0) } }, "subnet 10.244.1.0/24 overlaps"],
    ["wider subnet", { subnets: { 4: prefix("10.244.0.0/20") } }, "subnet 10.244.0.0/20 overlaps"],
    ["IPv6 subnet alone", { subnets: { 4: exampleSubnet(4, 1), 6: exampleSubnet(6, 0) } }, "subnet fd00:10:244:1::/64"],
    [
      "public address",
      { publicIPs: { 4: examplePublicIP(4, 0), 6: examplePublicIP(6, 1) } },
      "public address 198.18.0.1",
    ],
    ["VTEP MAC", { vteps: { 4: { vni: 1, mac: exampleMac(4, 0) } } }, `VTEP MAC ${exampleMac(4, 0)}`],
  ])("has nothing for a peer that claims our own %s, and says so; the others are there", (_, claim, reason) => {
    const [winner, other] = [exampleLease(DUAL, 1, claim), exampleLease(DUAL, 2)];
    const without = exampleInput(DUAL, [other]);
    const { skipped, ...rest } = planned(exampleInput(DUAL, [winner, other]));
    expect<Desired>({ ...rest, skipped: [] }).toEqual(planned(without));
    expect(skipped.map((one) => one.key)).toEqual(["node-1", "node-1"]);
    expect(skipped[0]?.reason).toContain(reason);
    expect(skipped[0]?.reason).toEndWith("this node's own");
    // Also where it comes to a plan that was there.
    const again = plan({ ...without, leases: [without.own, winner, other] }, plan(without));
    expect(again.delta).toBeUndefined();
    expect(again.desired.skipped).toEqual(skipped);
  });

  test("works out a lease once and a changed one anew", () => {
    const peer = exampleLease(IPV4, 1);
    const before = planned(exampleInput(IPV4, [peer])).routes.get("10.244.2.0/24");
    expect(planned(exampleInput(IPV4, [peer, exampleLease(IPV4, 2)])).routes.get("10.244.2.0/24")).toBe(
      before as NonNullable<typeof before>,
    );
    const moved = planned(exampleInput(IPV4, [exampleLease(IPV4, 1, { publicIPs: { 4: address("198.18.9.9") } })]));
    expect(moved.devices[0]?.forwarding.get(exampleMac(4, 1))).toBe(address("198.18.9.9"));
  });

  test("does not hand one network's entries to another VNI", () => {
    const peer = exampleLease(IPV4, 1);
    expect(planned(exampleInput(IPV4, [peer])).routes.size).toBe(1);
    const other = planned(exampleInput(IPV4, [peer], { backend: { vni: 2 } }));
    expect(other.routes.size).toBe(0);
    expect(other.skipped).toEqual([{ key: "node-1", node: "node-1", reason: "its VNI is 1, ours is 2" }]);
  });

  test("says of a lease without a node's name what its key is", () => {
    const { node: _, ...unnamed } = exampleLease(IPV4, 1, { key: "10.244.2.0-24", publicIPs: {} });
    expect(planned(exampleInput(IPV4, [unnamed])).skipped).toEqual([
      { key: "10.244.2.0-24", reason: "it has no IPv4 VTEP or public address" },
    ]);
  });

  test("has exactly one route, neighbour and forwarding entry for each valid peer, whatever the others are", () => {
    const flaws = {
      none: {},
      backend: { backendType: "udp" },
      publicIP: { publicIPs: {} },
      vtep: { vteps: {} },
      subnet: { subnets: {} },
    } satisfies Record<string, Partial<Lease>>;
    const flaw = fc.constantFrom<(keyof typeof flaws)[]>("none", "none", "backend", "publicIP", "vtep", "subnet");
    const anyPeers = fc.array(fc.record({ flaw, families: fc.constantFrom(IPV4, IPV6, DUAL) }), { maxLength: 30 });
    fc.assert(
      fc.property(anyPeers, fc.constantFrom(IPV4, IPV6, DUAL), (drawn, families) => {
        const peers = drawn.map((peer, at) => exampleLease(peer.families, at + 1, flaws[peer.flaw]));
        const { devices, routes, skipped } = planned(exampleInput(families, peers));
        const has = (at: number, family: Family) => drawn[at]?.flaw === "none" && drawn[at].families.includes(family);
        const valid = families.map((family) =>
          peers.flatMap((_, at) => (has(at, family) ? [{ family, n: at + 1 }] : [])),
        );
        expect([...routes.values()].map(({ destination, gateway, device }) => [destination, gateway, device])).toEqual(
          valid.flat().map(({ family, n }) => {
            const subnet = exampleSubnet(family, n);
            return [subnet, subnet.address, family === 4 ? "flannel.1" : "flannel-v6.1"];
          }),
        );
        expect(devices.map(({ neighbours }) => [...neighbours])).toEqual(
          valid.map((list) => list.map(({ family, n }) => [exampleSubnet(family, n).address, exampleMac(family, n)])),
        );
        expect(devices.map(({ forwarding }) => [...forwarding])).toEqual(
          valid.map((list) => list.map(({ family, n }) => [exampleMac(family, n), examplePublicIP(family, n)])),
        );
        expect(skipped).toHaveLength(families.length * peers.length - valid.flat().length);
      }),
    );
  });
});

describe("route protocol numbers", () => {
  test("are known again, depend on the destination alone, and are none that others use", () => {
    fc.assert(
      fc.property(fc.constantFrom(...FAMILIES).chain(anyPrefix), (destination) => {
        const protocol = routeProtocol(destination);
        expect(isOwnProtocol(protocol)).toBe(true);
        expect(routeProtocol({ ...destination })).toBe(protocol);
      }),
    );
    // linux/rtnetlink.h and iproute2's rt_protos: kernel, boot, static, ra, dhcp, bird, zebra, bgp, isis, ospf, rip, eigrp.
    for (const other of [0, 1, 2, 3, 4, 9, 11, 12, 16, 18, 42, 111, 128, 186, 187, 188, 189, 192, 255]) {
      expect(isOwnProtocol(other)).toBe(false);
    }
  });

  test("are spread evenly over the subnets of a network", () => {
    const counts = new Map<number, number>();
    for (let n = 0; n < 5_000; n++) {
      const protocol = routeProtocol(prefix(`10.${Math.floor(n / 256)}.${n % 256}.0/24`));
      counts.set(protocol, (counts.get(protocol) ?? 0) + 1);
    }
    expect(counts.size).toBe(16);
    // The chain that each new route walks must stay short: at most twice its even share.
    expect(Math.max(...counts.values())).toBeLessThan((2 * 5_000) / 16);
  });
});
