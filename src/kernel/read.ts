import { constants } from "node:os";
import type { HostInventory } from "../config/interface.ts";
import * as c from "../ffi/constants.ts";
import { KernelError } from "../ffi/errors.ts";
import type { Ethtool } from "../ffi/ethtool.ts";
import { answersOf } from "../ffi/libnl/answer.ts";
import { Batch, type Label } from "../ffi/libnl/batch.ts";
import { plainMessage } from "../ffi/libnl/message.ts";
import type { NetlinkSocket } from "../ffi/libnl/socket.ts";
import { messagesOf } from "../ffi/libnl/wire.ts";
import { FAMILIES, type Family, type PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";
import { decodeEvent } from "./decode.ts";
import { type Actual, Mirror } from "./mirror.ts";
import { isOwnDevice } from "./owned.ts";
import type { InterfaceAddress, KernelEvent, Neighbour } from "./state.ts";

/** Dumps that were interrupted by changes (NLM_F_DUMP_INTR) are made again this often before it is an error. */
const ATTEMPTS = 10;

/**
 * Reads in full what tartan follows: all links and addresses, the main table's routes, and the neighbours and
 * forwarding entries of our devices. Synchronous: about 10 µs an entry.
 * @param ethtool in the same network namespace as the socket; without it the offloads of our devices stay unknown
 * @throws KernelError
 */
export function readKernel(socket: NetlinkSocket, networks: PerFamily<Prefix>, ethtool?: Ethtool): Mirror {
  const mirror = new Mirror(networks);
  // Where the order within one key matters, a dump has it; so each entry goes behind the ones before.
  const take = (event: KernelEvent): void =>
    void mirror.apply(event.kind === "route" ? { ...event, place: "last" } : withOffloads(event, ethtool));
  using dump = new Dump(socket);
  dump.run(c.RTM_GETLINK, new Uint8Array(16), "links", take);
  dump.run(c.RTM_GETADDR, new Uint8Array(8), "addresses", take);
  for (const family of FAMILIES) {
    // struct rtmsg; the table narrows the dump to the main one.
    const request = new Uint8Array(12);
    request[0] = AF[family];
    request[4] = c.RT_TABLE_MAIN;
    dump.run(c.RTM_GETROUTE, request, `IPv${family} routes`, take);
  }
  for (const link of mirror.links.values()) {
    if (!isOwnDevice(link)) continue;
    for (const family of [c.AF_INET, c.AF_INET6, c.AF_BRIDGE]) {
      dump.run(c.RTM_GETNEIGH, neighbourRequest(family, link.index), `neighbours of ${link.name}`, take);
    }
  }
  mirror.markComplete();
  return mirror;
}

/**
 * All addresses of one link, in the kernel's order.
 * @throws KernelError
 */
export function readAddresses(socket: NetlinkSocket, index: number): InterfaceAddress[] {
  using dump = new Dump(socket);
  // struct ifaddrmsg; kernels before 4.20 don't look at the index and send all.
  const request = new Uint8Array(8);
  new DataView(request.buffer).setUint32(4, index, true);
  const addresses: InterfaceAddress[] = [];
  dump.run(c.RTM_GETADDR, request, `addresses of link ${index}`, (event) => {
    if (event.kind === "address" && event.value.index === index) addresses.push(event.value);
  });
  return addresses;
}

/**
 * The neighbours of one link, of both families, be it ours or not.
 * @throws KernelError
 */
export function readNeighbours(socket: NetlinkSocket, index: number): Neighbour[] {
  using dump = new Dump(socket);
  const neighbours: Neighbour[] = [];
  for (const family of [c.AF_INET, c.AF_INET6]) {
    dump.run(c.RTM_GETNEIGH, neighbourRequest(family, index), `neighbours of link ${index}`, (event) => {
      if (event.kind === "neighbour" && event.value.index === index) neighbours.push(event.value);
    });
  }
  return neighbours;
}

/** The event with what rtnetlink does not tell of our devices, as it is now: each change of it is notified all the same. */
export function withOffloads(event: KernelEvent, ethtool: Ethtool | undefined): KernelEvent {
  if (ethtool === undefined || event.kind !== "link" || event.deleted || !isOwnDevice(event.value)) return event;
  const txChecksum = ethtool.txChecksum(event.value.name);
  return txChecksum === undefined ? event : { ...event, value: { ...event.value, txChecksum } };
}

/** The host's interfaces for the choice of the external one. Our own devices are left out. */
export function inventoryOf(actual: Actual): HostInventory {
  const defaultRoutes: PerFamily<number> = {};
  for (const list of actual.routes.values()) {
    for (const route of list) {
      // `unreachable default` of IPv6 leads to the loopback.
      if (route.destination.length !== 0 || route.index === 0 || route.type !== c.RTN_UNICAST) continue;
      const best = defaultRoutes[route.family];
      if (best === undefined || route.priority < priorityOf(actual, route.family, best))
        defaultRoutes[route.family] = route.index;
    }
  }
  const interfaces = [...actual.links.values()]
    .filter((link) => !isOwnDevice(link))
    .map(({ index, name, mtu }) => ({ index, name, mtu, addresses: actual.addresses.get(index) ?? [] }));
  return { interfaces, defaultRoutes };
}

function priorityOf(actual: Actual, family: Family, index: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (const list of actual.routes.values()) {
    for (const route of list) {
      if (route.destination.length === 0 && route.family === family && route.index === index)
        best = Math.min(best, route.priority);
    }
  }
  return best;
}

const AF: Readonly<Record<Family, number>> = { 4: c.AF_INET, 6: c.AF_INET6 };

/** struct ndmsg; for AF_BRIDGE, too, ndm_ifindex names the device itself. */
function neighbourRequest(family: number, index: number): Uint8Array {
  if (family === c.AF_BRIDGE) {
    const request = new Uint8Array(12);
    request[0] = family;
    new DataView(request.buffer).setInt32(4, index, true);
    return request;
  }
  // With NDA_IFINDEX (8) the kernel filters; the header's own index must be 0 then.
  const request = new Uint8Array(20);
  request[0] = family;
  const view = new DataView(request.buffer);
  view.setUint16(12, 8, true);
  view.setUint16(14, c.NDA_IFINDEX, true);
  view.setUint32(16, index, true);
  return request;
}

class Dump implements Disposable {
  readonly #socket: NetlinkSocket;
  readonly #batch: Batch<Label>;
  readonly #buffer = new Uint8Array(256 * 1024);

  constructor(socket: NetlinkSocket) {
    this.#socket = socket;
    this.#batch = new Batch(socket);
  }

  run(type: number, payload: Uint8Array, object: string, take: (event: KernelEvent) => void): void {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const events = this.#once(type, payload, object);
      if (events === undefined) continue;
      for (const event of events) take(event);
      return;
    }
    throw new KernelError("read", object, constants.errno.EINTR, `the dump was interrupted ${ATTEMPTS} times`);
  }

  /** @returns undefined when the state changed meanwhile */
  #once(type: number, payload: Uint8Array, object: string): KernelEvent[] | undefined {
    const sequence = this.#batch.sendOnly(plainMessage(type, c.NLM_F_DUMP, payload), { operation: "read", object });
    const events: KernelEvent[] = [];
    let interrupted = false;
    for (;;) {
      const length = this.#socket.receive(this.#buffer);
      if (length < 0) throw new KernelError("read", object, -length);
      const datagram = this.#buffer.subarray(0, length);
      for (const answer of answersOf(datagram)) {
        if (answer.sequence === sequence && answer.errno !== 0)
          throw new KernelError("read", object, answer.errno, answer.text);
      }
      for (const message of messagesOf(datagram)) {
        if (message.sequence !== sequence) continue;
        if (message.flags & c.NLM_F_DUMP_INTR) interrupted = true;
        if (message.type === c.NLMSG_DONE) return interrupted ? undefined : events;
        const event = decodeEvent(message);
        if (event !== undefined) events.push(event);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]();
  }
}
