import { RTN_BLACKHOLE, RTN_UNICAST } from "../../src/ffi/constants.ts";
import type { LinkChanges } from "../../src/ffi/libnl/link.ts";
import { Mirror, routeKey } from "../../src/kernel/mirror.ts";
import type { Operation } from "../../src/kernel/operations.ts";
import { isOwnDevice, OWN_ALIAS } from "../../src/kernel/owned.ts";
import {
  DEFAULT_METRIC,
  type ForwardingEntry,
  type InterfaceAddress,
  type KernelEvent,
  type Link,
  type Neighbour,
  type Route,
  type RoutePlace,
} from "../../src/kernel/state.ts";
import { type Address, familyOf } from "../../src/net/address.ts";
import type { Family, PerFamily } from "../../src/net/family.ts";
import { isUnicastMac, type Mac } from "../../src/net/mac.ts";
import { containsAddress, formatPrefix, makePrefix, type Prefix } from "../../src/net/prefix.ts";
import { describeForwarding, describeLink, describeNeighbour, describeRoute } from "./describe.ts";

/** The name of an errno, or undefined for success. */
type Result = string | undefined;

/** How a route is added: as `ip route prepend`, `append` and `replace` do. */
export type RouteMode = RoutePlace;

/** A route as a delete request names it: what is 0 or undefined matches all. */
export type RouteQuery = Pick<Route, "destination" | "gateway" | "index" | "protocol"> &
  Partial<Pick<Route, "priority" | "type">>;

/**
 * The kernel's rules for what tartan follows, as far as its tests need them, as a model without I/O: what it refuses,
 * what goes together with something else, and which of that it tells of. Printed, it reads as `ip` and `bridge` show it.
 */
export class FakeKernel {
  readonly #links = new Map<number, Link>();
  readonly #addresses = new Map<number, InterfaceAddress[]>();
  readonly #routes = new Map<string, Route[]>();
  readonly #neighbours = new Map<number, Map<Address, Neighbour>>();
  readonly #forwarding = new Map<number, ForwardingEntry[]>();
  #events: KernelEvent[] = [];
  #nextIndex = 1;

  /** The notifications since the last call, in order. */
  takeEvents(): KernelEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  link(name: string): Link | undefined {
    return [...this.#links.values()].find((link) => link.name === name);
  }

  get links(): Link[] {
    return [...this.#links.values()];
  }

  addresses(index: number): readonly InterfaceAddress[] {
    return this.#addresses.get(index) ?? [];
  }

  /** All routes; those with one key stand together, the one that the kernel uses first. */
  get routes(): Route[] {
    return [...this.#routes.values()].flat();
  }

  neighbours(index: number): Neighbour[] {
    return [...(this.#neighbours.get(index)?.values() ?? [])];
  }

  forwarding(index: number): readonly ForwardingEntry[] {
    return this.#forwarding.get(index) ?? [];
  }

  addLink(link: Omit<Link, "index">): Result {
    const clash = this.links.some(
      ({ name, vxlan }) =>
        name === link.name ||
        (vxlan && vxlan.vni === link.vxlan?.vni && vxlan.port === link.vxlan.port && sameFamily(vxlan, link.vxlan)),
    );
    if (clash) return "EEXIST";
    const index = this.#nextIndex++;
    this.#setLink({ ...link, index });
    return undefined;
  }

  changeLink(index: number, changes: LinkChanges & { readonly name?: string }): Result {
    const link = this.#links.get(index);
    if (link === undefined) return "ENODEV";
    const { learning, local, underlay, ...common } = changes;
    if (link.vxlan === undefined && (learning ?? local ?? underlay) !== undefined) return "EOPNOTSUPP";
    if (local !== undefined && link.vxlan !== undefined && familyOf(local) !== vxlanFamily(link.vxlan))
      return "EOPNOTSUPP";
    if (common.mtu !== undefined && (learning ?? local ?? underlay) !== undefined) return "EOPNOTSUPP";
    if (common.name !== undefined && common.name !== link.name && this.link(common.name)) return "EEXIST";
    const options = defined({ learning, local, underlay });
    this.#setLink({ ...link, ...defined(common), vxlan: link.vxlan && { ...link.vxlan, ...options } });
    if (changes.mac !== undefined && changes.mac !== link.mac) this.#flushNeighbours(index);
    if (changes.up === false && link.up) this.#goDown(index);
    return undefined;
  }

  setTxChecksum(index: number, txChecksum: boolean): Result {
    const link = this.#links.get(index);
    if (link === undefined) return "ENODEV";
    this.#setLink({ ...link, txChecksum });
    return undefined;
  }

  deleteLink(index: number): Result {
    const link = this.#links.get(index);
    if (link === undefined) return "ENODEV";
    for (const other of this.links) if (other.vxlan?.underlay === index) this.deleteLink(other.index);
    if (link.up) this.changeLink(index, { up: false });
    for (const entry of this.forwarding(index)) this.#emit({ kind: "forwarding", deleted: true, value: entry });
    for (const value of this.addresses(index)) this.#emit({ kind: "address", deleted: true, value });
    this.#flushNeighbours(index);
    this.#addresses.delete(index);
    this.#forwarding.delete(index);
    this.#links.delete(index);
    this.#emit({ kind: "link", deleted: true, value: link });
    return undefined;
  }

  addAddress(index: number, address: Address, length: number): Result {
    if (!this.#links.has(index)) return "ENODEV";
    const list = this.#addresses.get(index) ?? [];
    if (list.some((known) => known.address === address && known.length === length)) return "EEXIST";
    const family = familyOf(address);
    const flags = { deprecated: false, duplicate: false, permanent: true, temporary: false };
    const value = { index, family, address, length, ...flags };
    this.#addresses.set(index, [...list, value]);
    this.#emit({ kind: "address", deleted: false, value });
    return undefined;
  }

  deleteAddress(index: number, address: Address, length: number): Result {
    const list = this.#addresses.get(index) ?? [];
    const value = list.find((known) => known.address === address && known.length === length);
    if (value === undefined) return "EADDRNOTAVAIL";
    const left = list.filter((known) => known !== value);
    this.#addresses.set(index, left);
    this.#emit({ kind: "address", deleted: true, value });
    if (value.family === 4 && !left.some(({ family }) => family === 4)) {
      this.#dropRoutes(index, 4);
      this.#flushNeighbours(index, 4);
    }
    return undefined;
  }

  addRoute(route: Route, mode: RouteMode): Result {
    if (route.index !== 0 && !this.#links.has(route.index)) return "ENODEV";
    if (route.index !== 0 && !this.#links.get(route.index)?.up) return "ENETDOWN";
    if (!this.#isReachable(route)) return "ENETUNREACH";
    const key = routeKey(route);
    const list = this.#routes.get(key) ?? [];
    const at = list.findIndex((known) => sameNextHop(known, route));
    // The gateway would be looked up by way of the other route.
    const [first] = list;
    const misled = first !== undefined && first.type === RTN_UNICAST && first.index !== route.index;
    if (route.family === 6 && route.gateway !== undefined && misled) return "EINVAL";
    if (mode === "replace" && list.length > 0) {
      if (at >= 0) return at === 0 ? undefined : "EEXIST";
      this.#routes.set(key, [route, ...list.slice(1)]);
      this.#emit({ kind: "route", deleted: false, value: route, place: "replace" });
      return undefined;
    }
    // IPv6 would merge the two to one with two next hops, which is not modelled.
    if (at >= 0 || (route.family === 6 && list.length > 0)) return "EEXIST";
    this.#routes.set(key, mode === "last" ? [...list, route] : [route, ...list]);
    this.#emit({ kind: "route", deleted: false, value: route, place: mode === "last" ? "last" : "first" });
    return undefined;
  }

  deleteRoute(query: RouteQuery): Result {
    const candidates = this.routes
      .filter((route) => formatPrefix(route.destination) === formatPrefix(query.destination) && route.tos === 0)
      .sort((a, b) => a.priority - b.priority);
    const value = candidates.find(
      ({ gateway, index, protocol, type, priority }) =>
        priority === (query.priority ?? priority) &&
        (query.gateway === undefined || gateway === query.gateway) &&
        (query.index === 0 || index === query.index) &&
        protocol === query.protocol &&
        // IPv6 does not look at it.
        (type === (query.type ?? RTN_UNICAST) || query.destination.family === 6),
    );
    if (value === undefined) return "ESRCH";
    this.#takeRoutes((route) => route === value);
    this.#emit({ kind: "route", deleted: true, value, place: "first" });
    return undefined;
  }

  setNeighbour(value: Neighbour): Result {
    if (!this.#links.has(value.index)) return "ENODEV";
    const known = this.#neighbours.get(value.index) ?? new Map<Address, Neighbour>();
    this.#neighbours.set(value.index, known.set(value.address, value));
    this.#emit({ kind: "neighbour", deleted: false, value });
    return undefined;
  }

  deleteNeighbour(index: number, address: Address): Result {
    const value = this.#neighbours.get(index)?.get(address);
    if (value === undefined) return "ENOENT";
    this.#neighbours.get(index)?.delete(address);
    this.#emit({ kind: "neighbour", deleted: false, value: { ...value, mac: undefined, permanent: false } });
    this.#emit({ kind: "neighbour", deleted: true, value: { ...value, mac: undefined, permanent: false } });
    return undefined;
  }

  setForwarding(value: ForwardingEntry): Result {
    const link = this.#links.get(value.index);
    if (link?.vxlan === undefined) return link === undefined ? "ENODEV" : "EOPNOTSUPP";
    const list = this.#forwarding.get(value.index) ?? [];
    const group = !isUnicastMac(value.mac);
    const at = list.findIndex(
      ({ mac, destination }) => mac === value.mac && (!group || destination === value.destination),
    );
    // A next hop group stays as it is, without a word.
    if (list[at] !== undefined && list[at].destination === undefined && value.destination !== undefined)
      return undefined;
    this.#forwarding.set(value.index, at >= 0 ? list.with(at, value) : [...list, value]);
    this.#emit({ kind: "forwarding", deleted: false, value });
    return undefined;
  }

  /** Without a destination, all that there is for the MAC goes. */
  deleteForwarding(index: number, mac: Mac): Result {
    const list = this.#forwarding.get(index) ?? [];
    const gone = list.filter((entry) => entry.mac === mac);
    if (gone.length === 0) return "ENOENT";
    this.#forwarding.set(
      index,
      list.filter((entry) => entry.mac !== mac),
    );
    for (const value of gone) this.#emit({ kind: "forwarding", deleted: true, value });
    return undefined;
  }

  /** What the agent's operations come to. */
  apply(operation: Operation): Result {
    switch (operation.kind) {
      case "link-add": {
        const { name, mac, mtu, vni, port = 8472, local, underlay, learning, gbp } = operation.device;
        const vxlan = { vni, port, local, underlay, group: undefined, learning, gbp, l2miss: false };
        return this.addLink({ name, kind: "vxlan", alias: OWN_ALIAS, mac, mtu, up: true, vxlan, txChecksum: true });
      }
      case "link-change":
        return this.changeLink(operation.index, operation.changes);
      case "offload-change":
        return this.setTxChecksum(operation.index, operation.txChecksum);
      case "link-delete":
        return this.deleteLink(operation.index);
      case "address-add":
        return this.addAddress(operation.index, operation.address, operation.length);
      case "address-delete":
        return this.deleteAddress(operation.index, operation.address, operation.length);
      case "route-replace": {
        const { destination, gateway, index, onlink, protocol } = operation;
        const { family } = destination;
        const fixed = { family, type: RTN_UNICAST, priority: DEFAULT_METRIC[family], tos: 0 };
        return this.addRoute({ destination, gateway, index, onlink, protocol, ...fixed }, "replace");
      }
      case "route-delete":
        return this.deleteRoute({ ...operation, priority: DEFAULT_METRIC[operation.destination.family] });
      case "blackhole-replace": {
        const { destination, protocol, metric: priority } = operation;
        const fixed = { gateway: undefined, index: 0, onlink: false, type: RTN_BLACKHOLE, tos: 0 };
        return this.addRoute({ family: destination.family, destination, protocol, priority, ...fixed }, "replace");
      }
      case "blackhole-delete": {
        const { destination, protocol, metric: priority } = operation;
        return this.deleteRoute({ destination, protocol, gateway: undefined, index: 0, priority, type: RTN_BLACKHOLE });
      }
      case "neighbour-replace": {
        const { index, address, mac } = operation;
        return this.setNeighbour({ index, address, mac, permanent: true });
      }
      case "neighbour-delete":
        return this.deleteNeighbour(operation.index, operation.address);
      case "forwarding-replace": {
        const { index, mac, destination } = operation;
        return this.setForwarding({ index, mac, destination, permanent: true, special: false });
      }
      case "forwarding-delete":
        return this.deleteForwarding(operation.index, operation.mac);
    }
  }

  /** The whole state, a line for each thing, in an order that depends on the state alone (but for that of routes). */
  text(): string {
    const lines = this.links.flatMap((link) => [
      describeLink(link),
      ...this.addresses(link.index).map(({ address, length }) => `${link.index}: address ${address}/${length}`),
      ...this.neighbours(link.index).map(describeNeighbour).sort(),
      ...this.forwarding(link.index).map(describeForwarding).sort(),
    ]);
    const routes = [...this.#routes].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, list]) => list);
    return [...lines, ...routes.map(describeRoute)].join("\n");
  }

  /** A full read, as `readKernel` makes it. */
  dump(networks: PerFamily<Prefix>): Mirror {
    const mirror = new Mirror(networks);
    for (const value of this.links) mirror.apply({ kind: "link", deleted: false, value });
    for (const { index } of this.links) {
      for (const value of this.addresses(index)) mirror.apply({ kind: "address", deleted: false, value });
    }
    for (const value of this.routes) mirror.apply({ kind: "route", deleted: false, value, place: "last" });
    for (const link of this.links.filter(isOwnDevice)) {
      for (const value of this.neighbours(link.index)) mirror.apply({ kind: "neighbour", deleted: false, value });
      for (const value of this.forwarding(link.index)) mirror.apply({ kind: "forwarding", deleted: false, value });
    }
    mirror.markComplete();
    return mirror;
  }

  /** A gateway must be marked as on the link, or lie in the prefix of one of its addresses. */
  #isReachable({ gateway, onlink, index }: Route): boolean {
    if (gateway === undefined || onlink) return true;
    return this.addresses(index).some(({ address, length }) => containsAddress(makePrefix(address, length), gateway));
  }

  #emit(event: KernelEvent): void {
    this.#events.push(event);
  }

  #setLink(link: Link): void {
    this.#links.set(link.index, link);
    this.#emit({ kind: "link", deleted: false, value: link });
  }

  #goDown(index: number): void {
    this.#dropRoutes(index, 4);
    for (const value of this.#takeRoutes((route) => route.index === index)) {
      this.#emit({ kind: "route", deleted: true, value, place: "first" });
    }
    this.#flushNeighbours(index);
    for (const value of this.forwarding(index)) {
      if (!value.permanent) this.#emit({ kind: "forwarding", deleted: true, value });
    }
    const addresses = this.addresses(index);
    for (const value of addresses) if (value.family === 6) this.#emit({ kind: "address", deleted: true, value });
    this.#addresses.set(
      index,
      addresses.filter(({ family }) => family === 4),
    );
    this.#forwarding.set(
      index,
      this.forwarding(index).filter(({ permanent }) => permanent),
    );
  }

  /** Without a word, as the kernel does it for IPv4. */
  #dropRoutes(index: number, family: Family): void {
    this.#takeRoutes((route) => route.index === index && route.family === family);
  }

  #takeRoutes(which: (route: Route) => boolean): Route[] {
    const taken = this.routes.filter(which);
    for (const [key, list] of this.#routes) {
      const left = list.filter((route) => !which(route));
      if (left.length > 0) this.#routes.set(key, left);
      else this.#routes.delete(key);
    }
    return taken;
  }

  #flushNeighbours(index: number, family?: Family): void {
    for (const value of this.neighbours(index)) {
      if (family !== undefined && familyOf(value.address) !== family) continue;
      this.#neighbours.get(index)?.delete(value.address);
      this.#emit({ kind: "neighbour", deleted: true, value });
    }
  }
}

function sameFamily(a: NonNullable<Link["vxlan"]>, b: NonNullable<Link["vxlan"]>): boolean {
  return vxlanFamily(a) === vxlanFamily(b);
}

/** A device without a local address is one of IPv4. */
function vxlanFamily({ local }: NonNullable<Link["vxlan"]>): Family {
  return local === undefined ? 4 : familyOf(local);
}

function sameNextHop(a: Route, b: Route): boolean {
  return (
    a.gateway === b.gateway &&
    a.index === b.index &&
    a.onlink === b.onlink &&
    a.type === b.type &&
    a.protocol === b.protocol
  );
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
