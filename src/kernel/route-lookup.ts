import type { RouteTowards } from "../config/interface.ts";
import * as c from "../ffi/constants.ts";
import { KernelError } from "../ffi/errors.ts";
import { answersOf } from "../ffi/libnl/answer.ts";
import { Batch } from "../ffi/libnl/batch.ts";
import { plainMessage } from "../ffi/libnl/message.ts";
import type { NetlinkSocket } from "../ffi/libnl/socket.ts";
import { attributesOf, messagesOf, u32 } from "../ffi/libnl/wire.ts";
import { type Address, addressFromBytes, addressToBytes, familyOf } from "../net/address.ts";

/**
 * Asks the kernel which way a packet to this address takes now, by all of its rules and tables, as `ip route get` does.
 * @throws KernelError, such as ENETUNREACH where there is no route
 */
export function routeTowards(socket: NetlinkSocket, target: Address): RouteTowards {
  const label = { operation: "look up the route to", object: target };
  using batch = new Batch(socket);
  const sequence = batch.sendOnly(plainMessage(c.RTM_GETROUTE, 0, request(target)), label);
  const buffer = new Uint8Array(16 * 1024);
  for (;;) {
    const length = socket.receive(buffer);
    if (length < 0) throw new KernelError(label.operation, label.object, -length);
    const datagram = buffer.subarray(0, length);
    for (const answer of answersOf(datagram)) {
      if (answer.sequence === sequence) throw new KernelError(label.operation, target, answer.errno, answer.text);
    }
    for (const message of messagesOf(datagram)) {
      if (message.sequence === sequence && message.type === c.RTM_NEWROUTE) return decode(message.payload);
    }
  }
}

/** struct rtmsg and RTA_DST (linux/rtnetlink.h). */
function request(target: Address): Uint8Array {
  const bytes = addressToBytes(target);
  const payload = new Uint8Array(12 + 4 + bytes.length);
  payload[0] = familyOf(target) === 4 ? c.AF_INET : c.AF_INET6;
  payload[1] = bytes.length * 8;
  const view = new DataView(payload.buffer);
  view.setUint16(12, 4 + bytes.length, true);
  view.setUint16(14, c.RTA_DST, true);
  payload.set(bytes, 16);
  return payload;
}

function decode(payload: Uint8Array): RouteTowards {
  const attributes = attributesOf(payload, 12);
  const find = (type: number) => attributes.find((attribute) => attribute.type === type)?.value;
  const source = find(c.RTA_PREFSRC);
  return {
    index: u32(find(c.RTA_OIF) ?? new Uint8Array(), 0),
    local: payload[7] === c.RTN_LOCAL,
    ...(source === undefined ? {} : { source: addressFromBytes(source) }),
  };
}
