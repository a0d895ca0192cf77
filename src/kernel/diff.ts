import type { Desired, DesiredDevice, DesiredRoute } from "../desired/desired.ts";
import { isOwnProtocol } from "../desired/route-protocol.ts";
import { RTN_UNICAST, RTPROT_BOOT } from "../ffi/constants.ts";
import type { Address } from "../net/address.ts";
import type { Mac } from "../net/mac.ts";
import { containsPrefix } from "../net/prefix.ts";
import { diffAddresses, diffDevices } from "./diff-devices.ts";
import type { Actual, Change } from "./mirror.ts";
import type { ForwardingOperation, NeighbourOperation, Operation, RouteOperation } from "./operations.ts";
import { isOwnDevice } from "./owned.ts";
import type { ForwardingEntry, Link, Neighbour, Route } from "./state.ts";

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
    if (this.#prune) {
      for (const [key, present] of this.#actual.routes)
        if (!this.#desired.routes.has(key)) deletes.push(...this.#removeRoutes(present));
    }
    return [...this.#devices.operations, ...adds, ...deletes];
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
        if (wanted === undefined) return this.#prune ? this.#removeRoutes(present) : [];
        return this.#isRight(wanted, present[0]) ? [] : this.#replaceRoute(wanted, present);
      }
      case "neighbour":
      case "forwarding": {
        const link = this.#actual.links.get(change.index);
        const device = link && this.#desired.devices.find((candidate) => candidate.name === link.name);
        if (link === undefined || device === undefined) return [];
        const operation =
          change.kind === "neighbour"
            ? diffNeighbour(device, link, change.address, this.#actual.neighbours.get(link.index)?.get(change.address))
            : diffForwarding(device, link, change.key as Mac, this.#actual.forwarding.get(link.index)?.get(change.key));
        return operation === undefined || (!this.#prune && operation.kind.endsWith("-delete")) ? [] : [operation];
      }
    }
  }

  #entriesOf(device: DesiredDevice, link: Link, adds: Operation[], deletes: Operation[]): void {
    const neighbours = this.#actual.neighbours.get(link.index) ?? new Map<Address, Neighbour>();
    const forwarding = this.#actual.forwarding.get(link.index) ?? new Map<string, ForwardingEntry>();
    for (const address of device.neighbours.keys()) {
      const operation = diffNeighbour(device, link, address, neighbours.get(address));
      if (operation !== undefined) adds.push(operation);
    }
    for (const mac of device.forwarding.keys()) {
      const operation = diffForwarding(device, link, mac, forwarding.get(mac));
      if (operation !== undefined) adds.push(operation);
    }
    if (!this.#prune) return;
    for (const [address, entry] of neighbours) {
      const operation = device.neighbours.has(address) ? undefined : diffNeighbour(device, link, address, entry);
      if (operation !== undefined) deletes.push(operation);
    }
    for (const [key, entry] of forwarding) {
      const operation = device.forwarding.has(key as Mac) ? undefined : diffForwarding(device, link, key as Mac, entry);
      if (operation !== undefined) deletes.push(operation);
    }
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
    // The kernel refuses to replace the first route by one that stands further back: that one goes first.
    const inTheWay = others.filter((route) => sameAsWanted(wanted, route, index));
    return [
      ...inTheWay.map((route) => removeRoute(route, why)),
      { kind: "route-replace", destination, gateway, index, onlink, protocol, why },
    ];
  }

  #removeRoutes(present: readonly Route[]): RouteOperation[] {
    return present.filter((route) => this.#isOwnRoute(route)).map((route) => removeRoute(route, "no lease has it"));
  }

  /**
   * Ours to remove: made by us, or left by flanneld, which names no protocol and uses a subnet's first address as
   * gateway on one of its own devices.
   */
  #isOwnRoute(route: Route): boolean {
    if (route.priority !== 0 || route.tos !== 0 || route.type !== RTN_UNICAST) return false;
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
): NeighbourOperation | undefined {
  const mac = device.neighbours.get(address);
  if (mac === undefined) {
    // Those that the kernel resolved by itself go by themselves.
    if (!found?.permanent || found.mac === undefined) return undefined;
    return { kind: "neighbour-delete", index: link.index, address, mac: found.mac, why: "no lease has it" };
  }
  if (found?.permanent && found.mac === mac) return undefined;
  const difference = found?.mac === mac ? "it is not permanent" : `it is ${found?.mac ?? "unresolved"}`;
  const why = found === undefined ? "it is missing" : difference;
  return { kind: "neighbour-replace", index: link.index, address, mac, why };
}

function diffForwarding(
  device: DesiredDevice,
  link: Link,
  key: Mac,
  found: ForwardingEntry | undefined,
): ForwardingOperation | undefined {
  const destination = device.forwarding.get(key);
  if (destination === undefined) {
    // What the device learnt by itself (with the option Learning) ages by itself.
    if (!found?.permanent || found.destination === undefined) return undefined;
    return {
      kind: "forwarding-delete",
      index: link.index,
      mac: found.mac,
      destination: found.destination,
      why: "no lease has it",
    };
  }
  if (found?.permanent && found.destination === destination && !found.special) return undefined;
  const difference =
    found?.destination === destination ? "it is not a plain permanent entry" : `it points to ${found?.destination}`;
  const why = found === undefined ? "it is missing" : difference;
  return { kind: "forwarding-replace", index: link.index, mac: key, destination, why };
}
