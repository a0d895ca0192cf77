import { describe, expect, test } from "bun:test";
import { constants } from "node:os";
import type { Screen } from "../../src/cli/output.ts";
import { follow, type KernelView, type TraceInput } from "../../src/cli/trace/follow.ts";
import type { Trace } from "../../src/cli/trace/result.ts";
import { traceText } from "../../src/cli/trace/text.ts";
import { parseSubnetEnv } from "../../src/config/subnet-env.ts";
import { KernelError } from "../../src/ffi/errors.ts";
import type { FoundRoute } from "../../src/kernel/route-lookup.ts";
import type { Link } from "../../src/kernel/state.ts";
import { type Address, parseAddress } from "../../src/net/address.ts";
import { type Mac, parseMac } from "../../src/net/mac.ts";
import { parsePrefix } from "../../src/net/prefix.ts";

const address = (text: string): Address =>
  parseAddress(text) ??
  (() => {
    throw new Error(text);
  })();
const mac = (text: string): Mac =>
  parseMac(text) ??
  (() => {
    throw new Error(text);
  })();

const SCREEN: Screen = { paint: (_, text) => text, width: 80 };
const PEER_MAC = mac("02:00:00:00:00:02");
const LINK = { alias: "", mac: undefined, up: true, vxlan: undefined };
const ETH0: Link = { ...LINK, index: 2, name: "eth0", kind: "veth", mtu: 1500 };
const CNI0: Link = { ...LINK, index: 4, name: "cni0", kind: "bridge", mtu: 1450 };
const FLANNEL: Link = {
  ...{ ...LINK, index: 3, name: "flannel.1", kind: "vxlan", alias: "tartan", mtu: 1450 },
  vxlan: {
    ...{ vni: 1, port: 8472, local: address("192.0.2.1"), underlay: 2, group: undefined },
    ...{ learning: false, gbp: false, l2miss: false },
  },
};
const SUBNET_ENV = parseSubnetEnv(
  "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
);

type RouteEntry = Partial<Omit<FoundRoute, "destination">> & { readonly to: string };

/** A node's kernel: the first route that holds an address counts. */
interface World {
  routes: RouteEntry[];
  links: Link[];
  /** by ifindex and address; undefined: it did not answer */
  neighbours: Record<string, Mac | undefined>;
  forwarding: Record<string, string>;
  forwards: boolean;
}

const whole = (): World => ({
  routes: [
    { to: "192.0.2.1/32", type: 2, index: 1 },
    { to: "10.244.2.0/24", index: 3, gateway: address("10.244.2.0"), onlink: true, protocol: 115 },
    { to: "10.244.1.0/24", index: 4, protocol: 2 },
    { to: "192.0.2.0/24", index: 2, source: address("192.0.2.1"), protocol: 2 },
    { to: "0.0.0.0/0", index: 2, gateway: address("192.0.2.254"), source: address("192.0.2.1"), protocol: 3 },
  ],
  links: [{ ...LINK, index: 1, name: "lo", kind: "", mtu: 65536 }, ETH0, FLANNEL, CNI0],
  neighbours: {
    "3 10.244.2.0": PEER_MAC,
    "4 10.244.1.2": mac("02:00:00:00:00:09"),
    "2 192.0.2.2": mac("02:00:00:00:00:0a"),
  },
  forwarding: { [`3 ${PEER_MAC}`]: "192.0.2.2" },
  forwards: true,
});

function viewOf(world: World): KernelView {
  const holds = (to: string, target: Address) => {
    const [network = "", length = "0"] = to.split("/");
    const of = (text: string) =>
      text.split(".").reduce((bits, part) => bits + Number(part).toString(2).padStart(8, "0"), "");
    return of(network).slice(0, Number(length)) === of(target).slice(0, Number(length));
  };
  return {
    lookUp(target, { entry = false } = {}) {
      const found = world.routes.find(({ to }) => holds(to, target));
      if (found === undefined) throw new KernelError("look up the route to", target, constants.errno.ENETUNREACH);
      if (found.type === 6) throw new KernelError("look up the route to", target, constants.errno.EINVAL);
      const destination = parsePrefix(entry ? found.to : `${target}/32`);
      if (destination === undefined) throw new Error(found.to);
      const rest = {
        type: 1,
        index: 0,
        gateway: undefined,
        source: undefined,
        mtu: undefined,
        table: 254,
        protocol: 0,
        onlink: false,
      };
      return { ...rest, ...found, destination };
    },
    link: (index) => world.links.find((link) => link.index === index),
    neighbour: (index, of) => {
      const key = `${index} ${of}`;
      return key in world.neighbours ? { index, address: of, mac: world.neighbours[key], permanent: true } : undefined;
    },
    forwarding: (index, of) => {
      const destination = world.forwarding[`${index} ${of}`];
      return destination === undefined
        ? undefined
        : { index, mac: of, destination: address(destination), permanent: true, special: false };
    },
    overlay: () => world.links.find(({ kind }) => kind === "vxlan"),
    forwards: () => world.forwards,
  };
}

const LEASE = {
  ...{
    key: "10.244.2.0-24",
    node: "n2",
    subnet: "10.244.2.0/24",
    publicIP: "192.0.2.2",
    vtepMAC: PEER_MAC,
    own: false,
    peer: null,
  },
};

function trace(target: string, change: (world: World) => unknown = () => {}, input: Partial<TraceInput> = {}): Trace {
  const world = whole();
  change(world);
  const rules = { nftables: [4 as const], "iptables-nft": [], "iptables-legacy": [] };
  return follow({
    target: address(target),
    kernel: viewOf(world),
    subnetEnv: SUBNET_ENV,
    lease: undefined,
    rules,
    ...input,
  });
}

const stepsOf = ({ steps }: Trace) => steps.map(({ step, ok }) => `${step}${ok ? "" : " LOST"}`);

describe("a packet to another node's pod", () => {
  test("goes by route, device, neighbour, forwarding entry and underlay", () => {
    const found = trace("10.244.2.7", undefined, { lease: LEASE });
    expect(stepsOf(found)).toEqual(["route", "device", "neighbour", "fdb", "underlay", "source", "mtu", "masquerade"]);
    expect(found).toMatchObject({
      kind: "pod",
      loss: undefined,
      arrives: "The packet leaves this node to 192.0.2.2, n2.",
    });
    expect(found.steps.map(({ text }) => text)).toMatchObject([
      "10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink proto 115",
      "flannel.1: vxlan 1, UDP port 8472, MTU 1450, up",
      `10.244.2.0 has the MAC ${PEER_MAC}`,
      `${PEER_MAC} is behind 192.0.2.2`,
      "192.0.2.2 dev eth0, MTU 1500",
      "192.0.2.1",
      "flannel.1 1450, 1500 on eth0 less 50 is 1450",
      "none: both ends are in the pod network",
    ]);
    expect(traceText(found, SCREEN)).toStartWith("10.244.2.7: in the subnet 10.244.2.0/24 of node n2\n");
  });

  test.each<[what: string, change: (world: World) => unknown, last: string, problem: RegExp, fix: RegExp]>([
    [
      "the forwarding entry",
      (world) => Object.assign(world, { forwarding: {} }),
      "fdb LOST",
      /forwarding entry \(FDB\) for 02:00:00:00:00:02 on flannel\.1 is missing/,
      /start the agent.*bridge fdb replace 02:00:00:00:00:02 dev flannel\.1 dst ITS-PUBLIC-ADDRESS self permanent$/,
    ],
    [
      "the neighbour",
      (world) => Object.assign(world, { neighbours: {} }),
      "neighbour LOST",
      /neighbour entry for 10\.244\.2\.0 on flannel\.1 is missing/,
      /ip neigh replace 10\.244\.2\.0 lladdr ITS-VTEP-MAC dev flannel\.1 nud permanent$/,
    ],
    [
      "the route, and another takes it",
      (world) => world.routes.splice(1, 1),
      "device LOST",
      /the route to its subnet is missing/,
      /ip route replace SUBNET via ITS-FIRST-ADDRESS dev flannel\.1 onlink$/,
    ],
    [
      "any route",
      (world) => Object.assign(world, { routes: [] }),
      "route LOST",
      /the route to its subnet is missing/,
      /ip route replace SUBNET/,
    ],
    [
      "the device",
      (world) => {
        world.routes.splice(1, 1);
        world.links = [ETH0];
      },
      "device LOST",
      /no VXLAN device/,
      /start the agent/,
    ],
    [
      "a device that is up",
      (world) => {
        world.routes.splice(1, 1);
        world.links = [ETH0, { ...FLANNEL, up: false }];
      },
      "device LOST",
      /flannel\.1 is down/,
      /ip link set flannel\.1 up/,
    ],
    [
      "a way to the public address",
      (world) => Object.assign(world, { routes: world.routes.slice(0, 2) }),
      "masquerade",
      /no route to 192\.0\.2\.2, the other node's public address/,
      /ip route add default/,
    ],
    [
      "a public address outside of the overlay",
      (world) => Object.assign(world, { forwarding: { [`3 ${PEER_MAC}`]: "10.244.2.1" } }),
      "masquerade",
      /routed into the overlay itself/,
      /--iface/,
    ],
    [
      "the source address",
      (world) => world.routes.shift(),
      "masquerade",
      /sends from 192\.0\.2\.1, which this node does not have any more/,
      /start the agent/,
    ],
    [
      "forwarding by the kernel",
      (world) => Object.assign(world, { forwards: false }),
      "forwarding LOST",
      /the kernel forwards no IPv4 packets/,
      /sysctl -w net\.ipv4\.ip_forward=1/,
    ],
  ])("is lost without %s", (_, change, last, problem, fix) => {
    const found = trace("10.244.2.7", change);
    expect(stepsOf(found).at(-1)).toBe(last);
    expect(stepsOf(found).filter((step) => step.endsWith("LOST"))).toHaveLength(1);
    expect(found.loss?.problem).toMatch(problem);
    expect(found.loss?.fix).toMatch(fix);
    expect(traceText(found, SCREEN)).toContain("The packet would be lost here: ");
  });

  test("is lost where an entry is another than the lease's, though nothing is missing", () => {
    const elsewhere = trace("10.244.2.7", undefined, { lease: { ...LEASE, publicIP: "192.0.2.99" } });
    expect(elsewhere.loss?.problem).toBe(
      `the forwarding entry for ${PEER_MAC} points to 192.0.2.2, the lease of n2 has 192.0.2.99`,
    );
    expect(elsewhere.loss?.fix).toMatch(/^the agent repairs it by itself/);
    const other = trace("10.244.2.7", undefined, { lease: { ...LEASE, vtepMAC: "02:00:00:00:00:99" } });
    expect(other.loss?.problem).toMatch(/has the MAC 02:00:00:00:00:02, the lease of n2 02:00:00:00:00:99$/);
  });

  test("says what the agent knows of the node beyond, and promises no repair of what is left out", () => {
    const [why, fix] = ["192.0.2.2 answers, but nothing answers through the overlay", "let UDP port 8472 through"];
    const down = trace("10.244.2.7", undefined, { lease: { ...LEASE, peer: { state: "down", why, fix } } });
    expect(down).toMatchObject({ loss: undefined, beyond: { problem: `n2 is down: ${why}`, fix } });
    expect(traceText(down, SCREEN)).toEndWith(
      `The packet leaves this node to 192.0.2.2, n2.\nBut n2 is down: ${why}.\nWhat helps: ${fix}\n`,
    );
    const up = { state: "up" as const, why: null, fix: null };
    expect(trace("10.244.2.7", undefined, { lease: { ...LEASE, peer: up } }).beyond).toBeUndefined();
    const peer = { state: "leftOut" as const, why: "its VNI is 7, ours is 1", fix: "give all nodes one Backend.VNI" };
    const noRoute = (world: World) => {
      world.routes = world.routes.filter(({ to }) => to.startsWith("192"));
    };
    const leftOut = trace("10.244.2.7", noRoute, { lease: { ...LEASE, peer } });
    expect(leftOut.loss).toEqual({ problem: `n2 is left out: ${peer.why}`, fix: peer.fix });
  });

  test("says that no node has the address", () => {
    const found = trace("10.244.77.1", undefined, { lease: null });
    expect(found.loss?.problem).toBe("no node has a lease whose subnet holds 10.244.77.1");
  });

  test("notes packets that are too long for the underlay, and a next hop that is silent", () => {
    const found = trace("10.244.2.7", (world) => {
      world.links = [{ ...ETH0, mtu: 1400 }, FLANNEL];
      world.neighbours["2 192.0.2.2"] = undefined;
    });
    expect(found.loss).toBeUndefined();
    expect(found.notes).toEqual([
      "packets of more than 1350 bytes do not fit through eth0: lower the MTU of flannel.1 and of pods",
      "192.0.2.2 does not answer on eth0 (ARP or neighbour discovery)",
    ]);
  });
});

describe("a packet to", () => {
  test("a pod of this node goes to its bridge", () => {
    const found = trace("10.244.1.2");
    expect(found).toMatchObject({ kind: "localPod", loss: undefined, notes: [] });
    expect(stepsOf(found)).toEqual(["route", "device", "neighbour"]);
    expect(trace("10.244.1.3").notes).toEqual([
      "nobody has asked for 10.244.1.3 on cni0 lately: the first packet will",
    ]);
  });

  test("this node's subnet without a bridge is lost", () => {
    const found = trace("10.244.1.2", (world) => {
      world.routes = world.routes.map((route) => (route.to === "10.244.1.0/24" ? { ...route, type: 6 } : route));
    });
    expect(found.steps).toEqual([{ step: "route", ok: false, text: "a blackhole route" }]);
    expect(found.loss?.problem).toMatch(/no bridge takes it/);
  });

  test("a subnet that a route refuses is lost: some kernels answer with that route in place of an error", () => {
    const found = trace("10.244.1.2", (world) => {
      world.routes = world.routes.map((route) => (route.to === "10.244.1.0/24" ? { ...route, type: 7 } : route));
    });
    expect(found.steps).toEqual([{ step: "route", ok: false, text: "an unreachable route (10.244.1.0/24)" }]);
  });

  test("this node's own address stays here", () => {
    expect(trace("192.0.2.1")).toMatchObject({
      kind: "local",
      loss: undefined,
      arrives: "192.0.2.1 is an address of this node itself.",
    });
  });

  test.each([
    ["true", "by rules in nftables", undefined],
    ["false", "not by the agent", undefined],
    ["true", "there are no rules of the agent", { nftables: [], "iptables-nft": [], "iptables-legacy": [] }],
  ] as const)("the outside is masqueraded with FLANNEL_IPMASQ=%s: %s", (value, text, rules) => {
    const subnetEnv = { ...SUBNET_ENV, ipMasq: value === "true" };
    const found = trace("203.0.113.9", undefined, { subnetEnv, ...(rules && { rules }) });
    expect(found).toMatchObject({
      kind: "outside",
      loss: undefined,
      arrives: "The packet leaves the pod network by eth0, to 192.0.2.254.",
    });
    expect(found.steps.at(-1)?.text).toContain(text);
  });

  test("the outside may be a service's address, which others' rules lead elsewhere", () => {
    expect(trace("203.0.113.7").notes).toContainEqual(
      expect.stringContaining("for a service's address trace its endpoints"),
    );
  });

  test("the outside without a route is lost", () => {
    const found = trace("203.0.113.9", (world) => world.routes.pop());
    expect(found.loss?.problem).toBe("this node has no route to 203.0.113.9");
  });
});
