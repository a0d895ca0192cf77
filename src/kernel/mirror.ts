import { isOwnProtocol } from "../desired/route-protocol.ts";
import type { Address } from "../net/address.ts";
import type { Family, PerFamily } from "../net/family.ts";
import { isUnicastMac } from "../net/mac.ts";
import { containsPrefix, formatPrefix, type Prefix } from "../net/prefix.ts";
import { isOwnDevice } from "./owned.ts";
import {
  DEFAULT_METRIC,
  type ForwardingEntry,
  type InterfaceAddress,
  type KernelEvent,
  type Link,
  type Neighbour,
  type Route,
  type RoutePlace,
} from "./state.ts";

/** The kernel's state as far as tartan follows it, for reading. */
export interface Actual {
  readonly links: ReadonlyMap<number, Link>;
  /** by ifindex, in the kernel's order */
  readonly addresses: ReadonlyMap<number, readonly InterfaceAddress[]>;
  /** by `routeKey`; the first of a list is the one that the kernel uses */
  readonly routes: ReadonlyMap<string, readonly Route[]>;
  /** by ifindex of our devices, then by address */
  readonly neighbours: ReadonlyMap<number, ReadonlyMap<Address, Neighbour>>;
  /** by ifindex of our devices, then by `forwardingKey` */
  readonly forwarding: ReadonlyMap<number, ReadonlyMap<string, ForwardingEntry>>;
}

/** What an event changed, so that it can be held against what is desired without going through everything. */
export type Change =
  | { readonly kind: "nothing" }
  | { readonly kind: "interfaces" }
  | { readonly kind: "route"; readonly key: string }
  | { readonly kind: "neighbour"; readonly index: number; readonly address: Address }
  | { readonly kind: "forwarding"; readonly index: number; readonly key: string };

const NOTHING: Change = { kind: "nothing" };
const INTERFACES: Change = { kind: "interfaces" };

/** Routes with one key exclude each other, or stand in line; ours have no TOS and no metric of their own. */
export function routeKey(route: Pick<Route, "destination" | "priority" | "tos">): string {
  const key = formatPrefix(route.destination);
  return route.priority === DEFAULT_METRIC[route.destination.family] && route.tos === 0
    ? key
    : `${key} metric ${route.priority} tos ${route.tos}`;
}

/** A unicast address has one destination; the zero and group addresses have a list of them. */
export function forwardingKey(entry: Pick<ForwardingEntry, "mac" | "destination">): string {
  return isUnicastMac(entry.mac) ? entry.mac : `${entry.mac} ${entry.destination ?? ""}`;
}

/** A copy of the kernel's state: made by dumps, kept by notifications, in the order in which they come. */
export class Mirror implements Actual {
  readonly links = new Map<number, Link>();
  readonly addresses = new Map<number, InterfaceAddress[]>();
  readonly routes = new Map<string, Route[]>();
  readonly neighbours = new Map<number, Map<Address, Neighbour>>();
  readonly forwarding = new Map<number, Map<string, ForwardingEntry>>();
  readonly #networks: PerFamily<Prefix>;
  /** links whose addresses are to be read by themselves */
  readonly #uncertain = new Set<number>();
  #stale = false;

  /** @param networks the pod networks, whose routes are followed whoever made them */
  constructor(networks: PerFamily<Prefix>) {
    this.#networks = networks;
  }

  /** True once something happened that the kernel does not report in full: then it has to be read again. */
  get stale(): boolean {
    return this.#stale;
  }

  markStale(): void {
    this.#stale = true;
  }

  /** Called when all that a full read has was applied. */
  markComplete(): void {
    this.#stale = false;
    this.#uncertain.clear();
  }

  /** Links, by index, whose addresses have to be read: where one came beside others, only the kernel knows the first. */
  get uncertain(): ReadonlySet<number> {
    return this.#uncertain;
  }

  doubtAddresses(index: number): void {
    if (this.links.has(index)) this.#uncertain.add(index);
  }

  /** Takes all addresses of a link as the kernel has them, in its order. */
  setAddresses(index: number, addresses: readonly InterfaceAddress[]): void {
    this.#uncertain.delete(index);
    if (this.links.has(index)) this.addresses.set(index, [...addresses]);
  }

  apply(event: KernelEvent): Change {
    switch (event.kind) {
      case "link":
        return this.#applyLink(event.value, event.deleted);
      case "address":
        return this.#applyAddress(event.value, event.deleted);
      case "route":
        return this.#applyRoute(event);
      case "neighbour": {
        const { index, address } = event.value;
        const own = this.neighbours.get(index);
        if (own === undefined) return NOTHING;
        if (event.deleted) own.delete(address);
        else own.set(address, event.value);
        return { kind: "neighbour", index, address };
      }
      case "forwarding": {
        const { index } = event.value;
        const own = this.forwarding.get(index);
        if (own === undefined) return NOTHING;
        const key = forwardingKey(event.value);
        if (event.deleted) own.delete(key);
        else own.set(key, event.value);
        return { kind: "forwarding", index, key };
      }
    }
  }

  #applyLink(link: Link, deleted: boolean): Change {
    const before = this.links.get(link.index);
    if (deleted) {
      if (before === undefined) return NOTHING;
      this.links.delete(link.index);
      this.addresses.delete(link.index);
      this.#uncertain.delete(link.index);
      this.neighbours.delete(link.index);
      this.forwarding.delete(link.index);
      this.#dropRoutes(link.index);
      return INTERFACES;
    }
    if (before !== undefined && sameLink(before, link)) return NOTHING;
    this.links.set(link.index, link);
    if (isOwnDevice(link) && !this.neighbours.has(link.index)) {
      this.neighbours.set(link.index, new Map());
      this.forwarding.set(link.index, new Map());
      // One that became ours by its name or mark may have entries that we were not told of.
      if (before !== undefined) this.#stale = true;
    } else if (!isOwnDevice(link) && this.neighbours.delete(link.index)) {
      this.forwarding.delete(link.index);
      // Its routes are followed no more, all but those that are for another reason.
      this.#stale = true;
    }
    if (before?.up && !link.up) {
      this.#dropRoutes(link.index);
      if (isOwnDevice(link)) this.#stale = true;
    }
    return INTERFACES;
  }

  #applyAddress(value: InterfaceAddress, deleted: boolean): Change {
    const list = this.addresses.get(value.index) ?? [];
    const at = list.findIndex((known) => known.address === value.address && known.length === value.length);
    const known = list[at];
    if (deleted) {
      if (known === undefined) return NOTHING;
      list.splice(at, 1);
      // With the last IPv4 address go the IPv4 routes, and the kernel does not say so.
      if (value.family === 4 && !list.some((other) => other.family === 4)) {
        this.#dropRoutes(value.index, 4);
        if (this.neighbours.has(value.index)) this.#stale = true;
      }
    } else if (known === undefined) {
      // The choice of the external interface takes the first address. Which one that is now depends on scopes.
      const others = list.some((other) => other.family === value.family);
      if (others && !this.neighbours.has(value.index)) this.#uncertain.add(value.index);
      list.push(value);
    } else if (Bun.deepEquals(known, value)) return NOTHING;
    else list[at] = value;
    this.addresses.set(value.index, list);
    return INTERFACES;
  }

  #applyRoute({ value, deleted, place }: Extract<KernelEvent, { kind: "route" }>): Change {
    const key = routeKey(value);
    if (!this.#isFollowed(value)) {
      if (place !== "replace" || !this.routes.has(key)) return NOTHING;
      // It took the place of one that is followed, or of another that is not.
      this.#stale = true;
      return { kind: "route", key };
    }
    const list = this.routes.get(key) ?? [];
    const at = list.findIndex((known) => sameRoute(known, value));
    if (value.family === 6 && this.#isMerged(value, deleted ? "gone" : place, list.length, at)) this.#stale = true;
    if (at >= 0) list.splice(at, 1);
    if (!deleted) {
      if (place === "replace") {
        // What was first is gone, unless it is what we have just taken out.
        if (at !== 0) list.shift();
        list.unshift(value);
      } else if (place === "first") list.unshift(value);
      else list.push(value);
    }
    if (list.length > 0) this.routes.set(key, list);
    else this.routes.delete(key);
    return value.destination.length === 0 ? INTERFACES : { kind: "route", key };
  }

  /**
   * IPv6 makes one route of several next hops out of routes with the same key, and the messages tell of its parts; which
   * of several routes is replaced depends on whether they have gateways.
   * @param count how many are known with the key
   * @param at which of them it is, or -1
   */
  #isMerged(route: Route, place: RoutePlace | "gone", count: number, at: number): boolean {
    const others = at < 0 ? count : count - 1;
    if (others === 0 || !this.#isInNetwork(route)) return false;
    return place !== "replace" || count > 1;
  }

  #isFollowed(route: Route): boolean {
    const own = isOwnProtocol(route.protocol) || this.neighbours.has(route.index);
    return own || route.destination.length === 0 || this.#isInNetwork(route);
  }

  #isInNetwork({ family, destination }: Route): boolean {
    const network = this.#networks[family];
    return network !== undefined && containsPrefix(network, destination);
  }

  /** The kernel drops the IPv4 routes of a device that goes down or away without a message for each. */
  #dropRoutes(index: number, family?: Family): void {
    for (const [key, list] of this.routes) {
      const left = list.filter((route) => route.index !== index || route.family !== (family ?? route.family));
      if (left.length === 0) this.routes.delete(key);
      else if (left.length < list.length) this.routes.set(key, left);
    }
  }
}

function sameLink(a: Link, b: Link): boolean {
  return (
    a.name === b.name &&
    a.kind === b.kind &&
    a.alias === b.alias &&
    a.mac === b.mac &&
    a.mtu === b.mtu &&
    a.up === b.up &&
    a.txChecksum === b.txChecksum &&
    Bun.deepEquals(a.vxlan, b.vxlan)
  );
}

function sameRoute(a: Route, b: Route): boolean {
  return (
    a.gateway === b.gateway &&
    a.index === b.index &&
    a.protocol === b.protocol &&
    a.type === b.type &&
    a.onlink === b.onlink
  );
}
