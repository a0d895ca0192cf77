import type { Desired, DesiredDelta, DesiredDevice, DesiredRoute } from "../desired/desired.ts";
import { isOwnProtocol } from "../desired/route-protocol.ts";
import { RTN_UNICAST, RTPROT_BOOT } from "../ffi/constants.ts";
import type { Address } from "../net/address.ts";
import type { Mac } from "../net/mac.ts";
import { containsPrefix } from "../net/prefix.ts";
import { addBlackhole, blackholeKey, removeBlackholes } from "./diff-blackholes.ts";
import { diffAddresses, diffDevices } from "./diff-devices.ts";
import type { Actual, Change } from "./mirror.ts";
import type {
  BlackholeOperation,
  ForwardingOperation,
  NeighbourOperation,
  Operation,
  RouteOperation,
} from "./operations.ts";
import { isOwnDevice } from "./owned.ts";
import { DEFAULT_METRIC, type ForwardingEntry, type Link, type Neighbour, type Route } from "./state.ts";

export interface DiffOptions {
  /** whether what is ours and not desired may go: only after a complete snapshot that has our own lease */
  readonly prune: boolean;
}

/**
 * The desired state held against the actual one. Pure; both must not change while it is used. Entries need their
 * device, so while one is missing or must be made anew, `all` has only what makes it; the next comparison has the rest.
 */
export class Comparison {
  readonly #desired: Desired;
  readonly #actual: Actual;
  readonly #prune: boolean;
  readonly #devices: ReturnType<typeof diffDevices>;

  constructor(desired: Desired, actual: Actual, options: DiffOptions) {
    this.#desired = desired;
    this.#actual = actual;
    this.#prune = options.prune;
    this.#devices = diffDevices(desired, actual, options.prune);
  }

  /** All that is to be done, devices first, then additions, then deletions. */
  all(): Operation[] {
    const adds: Operation[] = [];
    const deletes: Operation[] = [];
    for (const device of this.#desired.devices) {
      const link = this.#devices.ready.get(device.name);
      if (link === undefined) continue;
      for (const operation of diffAddresses(device, link, this.#actual))
        (operation.kind === "address-add" ? adds : deletes).push(operation);
      this.#entriesOf(device, link, adds, deletes);
    }
    // What stands in the way of a route goes right before it, so these keep their order.
    for (const [key, wanted] of this.#desired.routes) {
      const present = this.#actual.routes.get(key);
      if (!this.#isRight(wanted, present?.[0])) adds.push(...this.#replaceRoute(wanted, present ?? []));
    }
    for (const destination of this.#desired.blackholes)
      adds.push(...addBlackhole(destination, this.#actual.routes.get(blackholeKey(destination))));
    for (const [key, present] of this.#actual.routes) deletes.push(...this.#removeRoutes(key, present));
    return [...this.#devices.operations, ...adds, ...deletes];
  }

  /** What is to be done where the desired state differs from an earlier one that the kernel was brought to. */
  differing({ routes, neighbours, forwarding }: DesiredDelta): Operation[] {
    const places: Change[] = [{ kind: "interfaces" }];
    for (const { name } of this.#desired.devices) {
      const index = this.#devices.ready.get(name)?.index;
      if (index === undefined) continue;
      for (const address of neighbours.get(name) ?? []) places.push({ kind: "neighbour", index, address });
      for (const key of forwarding.get(name) ?? []) places.push({ kind: "forwarding", index, key });
    }
    for (const key of routes) places.push({ kind: "route", key });
    const first: Operation[] = [];
    const last: Operation[] = [];
    for (const place of places) {
      const operations = this.at(place);
      // What stands in the way of an addition goes right before it.
      const adds = operations.findLastIndex((operation) => !operation.kind.endsWith("-delete")) + 1;
      first.push(...operations.slice(0, adds));
      last.push(...operations.slice(adds));
    }
    return [...first, ...last];
  }

  /** Whether the wanted route to this destination is there as it is wanted: not without its device. */
  hasRoute(key: string): boolean {
    const wanted = this.#desired.routes.get(key);
    const index = wanted && this.#devices.ready.get(wanted.device)?.index;
    const [first] = this.#actual.routes.get(key) ?? [];
    return wanted !== undefined && index !== undefined && first !== undefined && sameAsWanted(wanted, first, index);
  }

  /** Whether a wanted neighbour is there as it is wanted. */
  hasNeighbour(device: DesiredDevice, address: Address): boolean {
    const link = this.#devices.ready.get(device.name);
    if (link === undefined || !device.neighbours.has(address)) return false;
    const found = this.#actual.neighbours.get(link.index)?.get(address);
    return found?.permanent === true && found.mac === device.neighbours.get(address);
  }

  /** Whether a wanted forwarding entry is there as it is wanted. */
  hasForwarding(device: DesiredDevice, mac: Mac): boolean {
    const link = this.#devices.ready.get(device.name);
    if (link === undefined || !device.forwarding.has(mac)) return false;
    const found = this.#actual.forwarding.get(link.index)?.get(mac);
    return found?.permanent === true && !found.special && found.destination === device.forwarding.get(mac);
  }

  /** What is to be done at the one place that changed. */
  at(change: Change): Operation[] {
    switch (change.kind) {
      case "nothing":
        return [];
      case "interfaces":
        return [
          ...this.#devices.operations,
          ...this.#desired.devices.flatMap((device) => {
            const link = this.#devices.ready.get(device.name);
            return link === undefined ? [] : diffAddresses(device, link, this.#actual);
          }),
        ];
      case "route": {
        const present = this.#actual.routes.get(change.key) ?? [];
        const wanted = this.#desired.routes.get(change.key);
        const replaced =
          wanted === undefined || this.#isRight(wanted, present[0]) ? [] : this.#replaceRoute(wanted, present);
        const blackhole = this.#desired.blackholes.find((destination) => blackholeKey(destination) === change.key);
        return [
          ...replaced,
          ...(blackhole === undefined ? [] : addBlackhole(blackhole, present)),
          ...this.#removeRoutes(change.key, present),
        ];
      }
      case "neighbour": {
        const { link, device } = this.#deviceAt(change.index);
        if (device === undefined || !(this.#prune || device.neighbours.has(change.address))) return [];
        const found = this.#actual.neighbours.get(change.index)?.get(change.address);
        return diffNeighbour(device, link, change.address, found);
      }
      case "forwarding": {
        const { link, device } = this.#deviceAt(change.index);
        const key = change.key as Mac;
        if (device === undefined || !(this.#prune || device.forwarding.has(key))) return [];
        return diffForwarding(device, link, key, this.#actual.forwarding.get(change.index)?.get(key));
      }
    }
  }

  /** The device of ours that has this index and on which entries can be put. */
  #deviceAt(index: number): { link: Link; device: DesiredDevice } | { link?: undefined; device?: undefined } {
    for (const device of this.#desired.devices) {
      const link = this.#devices.ready.get(device.name);
      if (link?.index === index) return { link, device };
    }
    return {};
  }

  #entriesOf(device: DesiredDevice, link: Link, adds: Operation[], deletes: Operation[]): void {
    const neighbours = this.#actual.neighbours.get(link.index) ?? new Map<Address, Neighbour>();
    const forwarding = this.#actual.forwarding.get(link.index) ?? new Map<string, ForwardingEntry>();
    for (const address of device.neighbours.keys())
      adds.push(...diffNeighbour(device, link, address, neighbours.get(address)));
    for (const mac of device.forwarding.keys()) adds.push(...diffForwarding(device, link, mac, forwarding.get(mac)));
    if (!this.#prune) return;
    for (const [address, entry] of neighbours)
      if (!device.neighbours.has(address)) deletes.push(...diffNeighbour(device, link, address, entry));
    for (const [key, entry] of forwarding)
      if (!device.forwarding.has(key as Mac)) deletes.push(...diffForwarding(device, link, key as Mac, entry));
  }

  /** True also when nothing can be done yet, for lack of the device. */
  #isRight(wanted: DesiredRoute, first: Route | undefined): boolean {
    const link = this.#devices.ready.get(wanted.device);
    if (link === undefined) return true;
    return first !== undefined && sameAsWanted(wanted, first, link.index);
  }

  #replaceRoute(wanted: DesiredRoute, present: readonly Route[]): RouteOperation[] {
    const index = this.#devices.ready.get(wanted.device)?.index;
    if (index === undefined) return [];
    const [first, ...others] = present;
    const why =
      first === undefined
        ? "it is missing"
        : `another route stands there (protocol ${first.protocol}, ifindex ${first.index})`;
    const { destination, gateway, onlink, protocol } = wanted;
    // The kernel refuses to replace the first route by one that stands further back, and an IPv6 route with a gateway that
    // another route leads to elsewhere: such a one goes first.
    const inTheWay =
      destination.family === 4
        ? others.filter((route) => sameAsWanted(wanted, route, index))
        : present.filter((route) => route.index !== index);
    return [
      ...inTheWay.map((route) => removeRoute(route, why)),
      { kind: "route-replace", destination, gateway, index, onlink, protocol, why },
    ];
  }

  /** Routes of ours that no lease has, and such as stand behind the first of a key, which gets replaced if it is wrong. */
  #removeRoutes(key: string, present: readonly Route[]): (RouteOperation | BlackholeOperation)[] {
    if (!this.#prune) return [];
    const blackholes = removeBlackholes(key, present, this.#desired);
    const wanted = this.#desired.routes.get(key);
    if (wanted !== undefined && present.length < 2) return blackholes;
    const index = wanted && this.#devices.ready.get(wanted.device)?.index;
    const routes = (wanted === undefined ? present : present.slice(1))
      .filter((route) => this.#isOwnRoute(route))
      .filter((route) => wanted === undefined || (index !== undefined && !sameAsWanted(wanted, route, index)))
      .map((route) => removeRoute(route, "no lease has it"));
    return [...blackholes, ...routes];
  }

  /**
   * Ours to remove: made by us, or left by flanneld, which names no protocol and uses a subnet's first address as
   * gateway on one of its own devices.
   */
  #isOwnRoute(route: Route): boolean {
    if (route.priority !== DEFAULT_METRIC[route.family] || route.tos !== 0 || route.type !== RTN_UNICAST) return false;
    if (isOwnProtocol(route.protocol)) return true;
    const network = this.#desired.networks[route.family];
    const link = this.#actual.links.get(route.index);
    return (
      route.protocol === RTPROT_BOOT &&
      route.onlink &&
      route.gateway === route.destination.address &&
      network !== undefined &&
      containsPrefix(network, route.destination) &&
      link !== undefined &&
      isOwnDevice(link)
    );
  }
}

function sameAsWanted(wanted: DesiredRoute, route: Route, index: number): boolean {
  return (
    route.index === index &&
    route.gateway === wanted.gateway &&
    route.onlink === wanted.onlink &&
    route.protocol === wanted.protocol &&
    route.type === RTN_UNICAST
  );
}

function removeRoute({ destination, gateway, index, onlink, protocol }: Route, why: string): RouteOperation {
  return { kind: "route-delete", destination, gateway, index, onlink, protocol, why };
}

function diffNeighbour(
  device: DesiredDevice,
  link: Link,
  address: Address,
  found: Neighbour | undefined,
): NeighbourOperation[] {
  const mac = device.neighbours.get(address);
  if (mac === undefined) {
    // Those that the kernel resolved by itself go by themselves.
    if (!found?.permanent || found.mac === undefined) return [];
    return [{ kind: "neighbour-delete", index: link.index, address, mac: found.mac, why: "no lease has it" }];
  }
  if (found?.permanent && found.mac === mac) return [];
  const difference = found?.mac === mac ? "it is not permanent" : `it is ${found?.mac ?? "unresolved"}`;
  const why = found === undefined ? "it is missing" : difference;
  return [{ kind: "neighbour-replace", index: link.index, address, mac, why }];
}

function diffForwarding(
  device: DesiredDevice,
  link: Link,
  key: Mac,
  found: ForwardingEntry | undefined,
): ForwardingOperation[] {
  const destination = device.forwarding.get(key);
  if (destination === undefined) {
    // What the device learnt by itself (with the option Learning) ages by itself.
    return found?.permanent ? [removeForwarding(found, "no lease has it")] : [];
  }
  if (found?.permanent && found.destination === destination && !found.special) return [];
  const difference =
    found?.destination === destination
      ? "it is not a plain permanent entry"
      : `it points to ${found?.destination ?? "a next hop group"}`;
  const why = found === undefined ? "it is missing" : difference;
  // A replacement leaves a next hop group as it is, and the kernel does not say so.
  const inTheWay = found !== undefined && found.destination === undefined ? [removeForwarding(found, why)] : [];
  return [...inTheWay, { kind: "forwarding-replace", index: link.index, mac: key, destination, why }];
}

function removeForwarding({ index, mac, destination }: ForwardingEntry, why: string): ForwardingOperation {
  return { kind: "forwarding-delete", index, mac, destination, why };
}
