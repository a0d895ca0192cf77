import fc from "fast-check";
import type { Desired } from "../../src/desired/desired.ts";
import { isOwnProtocol, routeProtocol } from "../../src/desired/route-protocol.ts";
import { RTN_UNICAST, RTPROT_BOOT } from "../../src/ffi/constants.ts";
import { Comparison, type DiffOptions } from "../../src/kernel/diff.ts";
import type { Change, Mirror } from "../../src/kernel/mirror.ts";
import type { Operation } from "../../src/kernel/operations.ts";
import { DEFAULT_METRIC, type Link, type Route } from "../../src/kernel/state.ts";
import type { Address } from "../../src/net/address.ts";
import type { Family } from "../../src/net/family.ts";
import type { Mac } from "../../src/net/mac.ts";
import { makePrefix, nthAddress, type Prefix } from "../../src/net/prefix.ts";
import {
  DUAL,
  type ExampleOptions,
  exampleInput,
  exampleLease,
  exampleMac,
  examplePublicIP,
  exampleSubnet,
  IPV4,
  IPV6,
  NETWORKS,
  planned,
} from "../desired/examples.ts";
import { address, mac, prefix } from "../net/values.ts";
import { FakeKernel, type RouteMode } from "./fake-kernel.ts";

/** Random kernel states and the steps that lead to them. The values are few, so that they get in each other's way. */

export const UNDERLAY = 1;

/** A kernel with nothing but its external interface, which has the addresses and the default route of an example node. */
export function freshKernel(): FakeKernel {
  const kernel = new FakeKernel();
  const common = { kind: "", alias: "", up: true, vxlan: undefined };
  kernel.addLink({ ...common, name: "eth0", mac: mac("02:00:00:00:ee:00"), mtu: 1500 });
  for (const family of DUAL) {
    kernel.addAddress(UNDERLAY, examplePublicIP(family, 0), family === 4 ? 15 : 64);
    const gateway = examplePublicIP(family, 99);
    kernel.addRoute(
      exampleRoute({ destination: makePrefix(gateway, 0), gateway, index: UNDERLAY, protocol: 4 }),
      "first",
    );
  }
  kernel.takeEvents();
  return kernel;
}

export function exampleRoute(route: Pick<Route, "destination"> & Partial<Route>): Route {
  const { family } = route.destination;
  return {
    family,
    gateway: undefined,
    index: 0,
    onlink: false,
    protocol: RTPROT_BOOT,
    type: RTN_UNICAST,
    priority: DEFAULT_METRIC[family],
    tos: 0,
    ...route,
  };
}

/** The desired state of a node with the peers of these numbers. */
export function desiredFor(
  families: readonly Family[],
  peers: readonly number[],
  options: ExampleOptions = {},
): Desired {
  const leases = peers.map((n) => exampleLease(families, n));
  return planned(exampleInput(families, leases, { external: { index: UNDERLAY }, ...options }));
}

const PEERS = [1, 2, 3, 4];
const NAMES = ["flannel.1", "flannel-v6.1", "flannel.7", "cni0", "eth0", "other"];

const anyOf = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const anyFamily = anyOf<Family>(4, 4, 6);
const anyMac = anyOf<Mac>(...[0, ...PEERS].flatMap((n) => [exampleMac(4, n), exampleMac(6, n)]));

export const anyFamilies = anyOf(IPV4, IPV4, IPV6, DUAL);
export const anyPeers = fc.subarray(PEERS);
export const anyBackend = fc.record({ gbp: fc.boolean(), learning: fc.boolean(), port: anyOf(undefined, 4789) });

export const anyDesired: fc.Arbitrary<Desired> = fc
  .record({ families: anyFamilies, peers: anyPeers, backend: anyBackend })
  .map(({ families, peers, backend }) => desiredFor(families, peers, { backend }));

/** One change that somebody makes; the kernel may refuse it. */
export interface Step {
  readonly kind: "device" | "entry";
  run(kernel: FakeKernel): unknown;
  toString(): string;
}

function step(kind: Step["kind"], text: string, run: Step["run"]): Step {
  return { kind, run, toString: () => text };
}

/** A step on a link by name; nothing happens while there is none. */
const onLink = (
  kind: Step["kind"],
  name: string,
  text: string,
  run: (kernel: FakeKernel, link: Link) => unknown,
): Step =>
  step(kind, `${name}: ${text}`, (kernel) => {
    const link = kernel.link(name);
    return link && run(kernel, link);
  });

const anyName = anyOf("flannel.1", "flannel.1", "flannel.1", "flannel.1", "flannel-v6.1", ...NAMES);

const anyVxlan = fc
  .record({
    vni: anyOf(1, 1, 1, 7),
    port: anyOf(8472, 8472, 4789),
    family: anyFamily,
    learning: fc.boolean(),
    gbp: fc.boolean(),
    l2miss: anyOf(false, false, true),
    group: anyOf(false, false, true),
  })
  .map(({ family, group, ...options }) => ({
    ...options,
    local: examplePublicIP(family, 0),
    underlay: UNDERLAY,
    group: group ? examplePublicIP(family, 50) : undefined,
  }));

const anyLinkStep: fc.Arbitrary<Step> = fc
  .record({
    name: anyName,
    kind: anyOf("vxlan", "vxlan", "bridge", ""),
    alias: anyOf("", "tartan", "somebody's"),
    mac: anyMac,
    mtu: anyOf(1450, 1430, 1280),
    up: anyOf(true, true, false),
    vxlan: anyVxlan,
  })
  .map(({ vxlan, ...link }) => {
    const whole = { ...link, vxlan: link.kind === "vxlan" ? vxlan : undefined };
    return step("device", `add link ${JSON.stringify(whole)}`, (kernel) => kernel.addLink(whole));
  });

const anyChangeStep: fc.Arbitrary<Step> = fc
  .tuple(
    anyName,
    fc.oneof(
      anyMac.map((value) => ({ mac: value })),
      anyOf(1400, 1450).map((mtu) => ({ mtu })),
      anyOf(true, false).map((up) => ({ up })),
      anyOf("", "tartan").map((alias) => ({ alias })),
      fc.boolean().map((learning) => ({ learning })),
      fc.constant({ local: address("198.18.7.7") }),
      anyOf(...NAMES).map((name) => ({ name })),
    ),
  )
  // The external interface keeps its name: under one of ours it would be deleted, which no kernel does with it.
  .filter(([name, changes]) => !(name === "eth0" && "name" in changes))
  .map(([name, changes]) =>
    onLink("device", name, JSON.stringify(changes), (kernel, { index }) => kernel.changeLink(index, changes)),
  );

const anyDeleteLinkStep = anyOf(...NAMES.filter((name) => name !== "eth0")).map((name) =>
  onLink("device", name, "deleted", (kernel, { index }) => kernel.deleteLink(index)),
);

const OTHER_ADDRESSES: Readonly<Record<Family, Address>> = { 4: address("192.0.2.1"), 6: address("2001:db8::1") };

const anyAddressStep: fc.Arbitrary<Step> = fc
  .record({
    name: anyName,
    family: anyFamily,
    which: anyOf<"own" | "peer" | "first" | "outside">("own", "peer", "first", "outside"),
    full: fc.boolean(),
    remove: fc.boolean(),
  })
  .map(({ name, family, which, full, remove }) => {
    const value = {
      own: exampleSubnet(family, 0).address,
      peer: exampleSubnet(family, 1).address,
      first: nthAddress(exampleSubnet(family, 0), 1n),
      outside: OTHER_ADDRESSES[family],
    }[which];
    const bits = family === 4 ? 32 : 128;
    const length = full ? bits : exampleSubnet(family, 0).length;
    return onLink("device", name, `${remove ? "delete" : "add"} address ${value}/${length}`, (kernel, { index }) =>
      remove ? kernel.deleteAddress(index, value, length) : kernel.addAddress(index, value, length),
    );
  });

const OUTSIDE: Readonly<Record<Family, Prefix>> = { 4: prefix("172.16.9.0/24"), 6: prefix("2001:db8:9::/64") };

const anyDestination = fc
  .record({ family: anyFamily, which: fc.integer({ min: 0, max: 6 }) })
  .map(({ family, which }) => {
    if (which === 0) return OUTSIDE[family];
    return which <= 5
      ? exampleSubnet(family, which)
      : makePrefix(nthAddress(exampleSubnet(family, 1), 9n), family === 4 ? 32 : 128);
  });

const anyRouteStep: fc.Arbitrary<Step> = fc
  .record({
    destination: anyDestination,
    gateway: anyOf<"own" | "other" | "none">("own", "own", "other", "none"),
    device: anyName,
    protocol: anyOf<"ours" | number>("ours", "ours", 0x70, 0x7f, RTPROT_BOOT, RTPROT_BOOT, 4, 2),
    onlink: anyOf(true, true, false),
    type: anyOf(RTN_UNICAST, RTN_UNICAST, RTN_UNICAST, 6),
    metric: anyOf(0, 0, 0, 50),
    mode: anyOf<RouteMode>("first", "last", "replace"),
    remove: anyOf(false, false, true),
  })
  .map(({ destination, gateway, device, protocol, metric, mode, remove, type, onlink }) => {
    const { family } = destination;
    const gateways = { own: destination.address, other: examplePublicIP(family, 5), none: undefined };
    const number = protocol === "ours" ? routeProtocol(destination) : protocol;
    const route = exampleRoute({
      destination,
      gateway: gateways[gateway],
      protocol: number,
      onlink,
      type,
      priority: metric || DEFAULT_METRIC[family],
    });
    return onLink("entry", device, `${remove ? "delete" : mode} route ${JSON.stringify(route)}`, (kernel, { index }) =>
      remove ? kernel.deleteRoute({ ...route, index }) : kernel.addRoute({ ...route, index }, mode),
    );
  });

const anyNeighbourStep: fc.Arbitrary<Step> = fc
  .record({
    name: anyName,
    family: anyFamily,
    peer: anyOf(...PEERS, 9),
    mac: fc.option(anyMac, { nil: undefined }),
    permanent: anyOf(true, true, false),
    remove: anyOf(false, false, true),
  })
  .map(({ name, family, peer, mac: lladdr, permanent, remove }) => {
    const value = exampleSubnet(family, peer).address;
    return onLink(
      "entry",
      name,
      `${remove ? "delete" : "set"} neighbour ${value} ${lladdr} ${permanent}`,
      (kernel, { index }) =>
        remove
          ? kernel.deleteNeighbour(index, value)
          : kernel.setNeighbour({ index, address: value, mac: lladdr, permanent: permanent && lladdr !== undefined }),
    );
  });

const anyForwardingStep: fc.Arbitrary<Step> = fc
  .record({
    name: anyName,
    mac: anyOf<Mac | "zero">("zero", ...PEERS.map((n) => exampleMac(4, n)), exampleMac(6, 1), exampleMac(4, 9)),
    destination: fc.option(fc.tuple(anyFamily, anyOf(...PEERS)), { nil: undefined, freq: 8 }),
    permanent: anyOf(true, true, false),
    special: anyOf(false, false, false, true),
    remove: anyOf(false, false, true),
  })
  .map(({ name, mac: drawn, destination, permanent, special, remove }) => {
    const lladdr = drawn === "zero" ? mac("00:00:00:00:00:00") : drawn;
    const entry = {
      mac: lladdr,
      destination: destination && examplePublicIP(...destination),
      permanent: permanent || drawn === "zero",
      special: special || destination === undefined,
    };
    return onLink(
      "entry",
      name,
      `${remove ? "delete" : "set"} forwarding ${JSON.stringify(entry)}`,
      (kernel, { index }) =>
        remove ? kernel.deleteForwarding(index, lladdr) : kernel.setForwarding({ ...entry, index }),
    );
  });

/** Whatever somebody may do to the kernel beside us. */
export const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: anyLinkStep },
  { weight: 3, arbitrary: anyChangeStep },
  { weight: 1, arbitrary: anyDeleteLinkStep },
  { weight: 3, arbitrary: anyAddressStep },
  { weight: 5, arbitrary: anyRouteStep },
  { weight: 4, arbitrary: anyNeighbourStep },
  { weight: 4, arbitrary: anyForwardingStep },
);

/** A kernel in which somebody has been at work. */
export interface World {
  /** the same one at each call */
  make(): FakeKernel;
  toString(): string;
}

/** Most have been programmed once, by us or by flanneld, so that what follows finds something to break. */
export function anyWorld(maxSteps: number, steps = anyStep): fc.Arbitrary<World> {
  const anyStart = fc.option(fc.tuple(anyDesired, anyOf("tartan", "tartan", "flanneld")), { nil: undefined, freq: 8 });
  return fc.tuple(anyStart, fc.array(steps, { maxLength: maxSteps })).map(([start, list]) => ({
    make() {
      const kernel = freshKernel();
      if (start !== undefined) converge(kernel, start[0]);
      if (start?.[1] === "flanneld") disguise(kernel);
      for (const one of list) one.run(kernel);
      kernel.takeEvents();
      return kernel;
    },
    toString: () => `${start?.[1]} ${Bun.inspect(start?.[0], { depth: 3 })}\n${list.join("\n")}`,
  }));
}

/** Makes what tartan left in the kernel look as if flanneld had made it: devices without a mark, routes without a protocol. */
export function disguise(kernel: FakeKernel): void {
  for (const { index, alias } of kernel.links) if (alias === "tartan") kernel.changeLink(index, { alias: "" });
  for (const route of kernel.routes) {
    if (isOwnProtocol(route.protocol)) kernel.addRoute({ ...route, protocol: RTPROT_BOOT }, "replace");
  }
}

/** A kernel copy kept as the reconciler keeps it: by notifications, and by a full read when those do not tell all. */
export class Follower {
  readonly #kernel: FakeKernel;
  mirror: Mirror;
  fullReads = 1;

  constructor(kernel: FakeKernel) {
    this.#kernel = kernel;
    kernel.takeEvents();
    this.mirror = kernel.dump(NETWORKS);
  }

  /** Takes what was notified since the last call. @returns what it changed; undefined when all was read again */
  follow(): Change[] | undefined {
    const changes = this.#kernel.takeEvents().map((event) => this.mirror.apply(event));
    for (const index of [...this.mirror.uncertain]) this.mirror.setAddresses(index, this.#kernel.addresses(index));
    if (!this.mirror.stale) return changes;
    this.mirror = this.#kernel.dump(NETWORKS);
    this.fullReads++;
    return undefined;
  }
}

export interface Convergence {
  /** how many times there was something to do */
  readonly passes: number;
  readonly operations: readonly Operation[];
}

/** Brings the kernel to the desired state by passes of diff and apply, as the reconciler does. */
export function converge(
  kernel: FakeKernel,
  desired: Desired,
  { prune }: DiffOptions = { prune: true },
  onOperation: (operation: Operation, refused: string | undefined) => void = () => {},
): Convergence {
  const follower = new Follower(kernel);
  const all: Operation[] = [];
  for (let passes = 0; ; passes++) {
    const operations = new Comparison(desired, follower.mirror, { prune }).all();
    if (operations.length === 0 || passes === 10) return { passes, operations: all };
    for (const operation of operations) onOperation(operation, kernel.apply(operation));
    all.push(...operations);
    follower.follow();
  }
}
