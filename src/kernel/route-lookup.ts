import type { RouteTowards } from "../config/interface.ts";
import * as c from "../ffi/constants.ts";
import { KernelError } from "../ffi/errors.ts";
import { answersOf } from "../ffi/libnl/answer.ts";
import { Batch } from "../ffi/libnl/batch.ts";
import { plainMessage } from "../ffi/libnl/message.ts";
import type { NetlinkSocket } from "../ffi/libnl/socket.ts";
import { attributesOf, messagesOf, u32 } from "../ffi/libnl/wire.ts";
import { type Address, addressFromBytes, addressToBytes, familyOf } from "../net/address.ts";
import type { Family } from "../net/family.ts";
import { makePrefix, type Prefix } from "../net/prefix.ts";

/** What the kernel says of the way to an address. */
export interface FoundRoute {
  /** RTN_*: unicast, local, … */
  readonly type: number;
  /** ifindex of the device, 0 for none */
  readonly index: number;
  readonly gateway: Address | undefined;
  /** the source address that the kernel would choose */
  readonly source: Address | undefined;
  /** bytes, where the route itself has an MTU */
  readonly mtu: number | undefined;
  readonly table: number;
  readonly protocol: number;
  readonly onlink: boolean;
  /** the entry's, where it was asked for; else the address itself */
  readonly destination: Prefix;
}

/**
 * Asks the kernel which way a packet to this address takes now, by all of its rules and tables, as `ip route get` does.
 * @throws KernelError, such as ENETUNREACH where there is no route
 */
export function routeTowards(socket: NetlinkSocket, target: Address): RouteTowards {
  const { index, type, source } = lookUpRoute(socket, target);
  return { index, local: type === c.RTN_LOCAL, ...(source === undefined ? {} : { source }) };
}

/**
 * The same with more of the answer.
 * @param entry the table's entry as it stands there, as `ip route get fibmatch` does, instead of what follows from it
 * @throws KernelError
 */
export function lookUpRoute(socket: NetlinkSocket, target: Address, { entry = false } = {}): FoundRoute {
  const label = { operation: "look up the route to", object: target };
  using batch = new Batch(socket);
  const sequence = batch.sendOnly(plainMessage(c.RTM_GETROUTE, 0, request(target, entry)), label);
  const buffer = new Uint8Array(16 * 1024);
  for (;;) {
    const length = socket.receive(buffer);
    if (length < 0) throw new KernelError(label.operation, label.object, -length);
    const datagram = buffer.subarray(0, length);
    for (const answer of answersOf(datagram)) {
      if (answer.sequence === sequence) throw new KernelError(label.operation, target, answer.errno, answer.text);
    }
    for (const message of messagesOf(datagram)) {
      if (message.sequence === sequence && message.type === c.RTM_NEWROUTE) return decode(message.payload, target);
    }
  }
}

/** struct rtmsg and RTA_DST (linux/rtnetlink.h). */
function request(target: Address, entry: boolean): Uint8Array {
  const bytes = addressToBytes(target);
  const payload = new Uint8Array(12 + 4 + bytes.length);
  payload[0] = familyOf(target) === 4 ? c.AF_INET : c.AF_INET6;
  payload[1] = bytes.length * 8;
  const view = new DataView(payload.buffer);
  view.setUint32(8, entry ? c.RTM_F_FIB_MATCH : 0, true);
  view.setUint16(12, 4 + bytes.length, true);
  view.setUint16(14, c.RTA_DST, true);
  payload.set(bytes, 16);
  return payload;
}

const ANY: Readonly<Record<Family, Address>> = { 4: "0.0.0.0" as Address, 6: "::" as Address };

function decode(payload: Uint8Array, target: Address): FoundRoute {
  const attributes = attributesOf(payload, 12);
  const find = (type: number) => attributes.find((attribute) => attribute.type === type)?.value;
  const address = (type: number) => {
    const bytes = find(type);
    return bytes && addressFromBytes(bytes);
  };
  const table = find(c.RTA_TABLE);
  const metrics = find(c.RTA_METRICS);
  const mtu = metrics && attributesOf(metrics).find(({ type }) => type === c.RTAX_MTU)?.value;
  return {
    type: payload[7] ?? 0,
    index: u32(find(c.RTA_OIF) ?? new Uint8Array(), 0),
    gateway: address(c.RTA_GATEWAY),
    source: address(c.RTA_PREFSRC),
    mtu: mtu && u32(mtu, 0),
    table: table === undefined ? (payload[4] ?? 0) : u32(table, 0),
    protocol: payload[5] ?? 0,
    onlink: (u32(payload, 8) & c.RTNH_F_ONLINK) !== 0,
    destination: makePrefix(address(c.RTA_DST) ?? ANY[familyOf(target)], payload[1] ?? 0),
  };
}
