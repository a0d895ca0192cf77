/** The framing of netlink: messages in a datagram, attributes in a message (linux/netlink.h, rtnetlink(7)). Pure. */

export interface WireMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** a view of the datagram, valid as long as that is */
  readonly payload: Uint8Array;
}

export interface WireAttribute {
  readonly type: number;
  readonly value: Uint8Array;
}

/** The messages of a datagram; a damaged rest is left out. */
export function* messagesOf(datagram: Uint8Array): Generator<WireMessage> {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length);
  for (let at = 0; at + 16 <= datagram.length; ) {
    const length = view.getUint32(at, true);
    if (length < 16 || at + length > datagram.length) return;
    yield {
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      payload: datagram.subarray(at + 16, at + length),
    };
    at += (length + 3) & ~3;
  }
}

/** NLA_F_NESTED and NLA_F_NET_BYTEORDER, which share the type's field. */
const TYPE_MASK = 0x3fff;

/** The attributes of a payload from `offset` on, in order; a damaged rest is left out. */
export function attributesOf(payload: Uint8Array, offset = 0): WireAttribute[] {
  const attributes: WireAttribute[] = [];
  for (let at = offset; at + 4 <= payload.length; ) {
    const length = u16(payload, at);
    if (length < 4 || at + length > payload.length) break;
    attributes.push({ type: u16(payload, at + 2) & TYPE_MASK, value: payload.subarray(at + 4, at + length) });
    at += (length + 3) & ~3;
  }
  return attributes;
}

/** A number in the machine's order (all that Bun runs on are little endian); 0 where the bytes end. */
export function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}

export function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0;
}

/** A number in network order. */
export function u16be(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

const decoder = new TextDecoder();

/** A NUL-terminated string. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}
