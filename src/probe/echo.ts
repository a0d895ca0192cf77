import type { EchoMark } from "../ffi/icmp-socket.ts";
import type { Family } from "../net/family.ts";

/** ICMP echo messages as the probes send them: mark and number, then zeros (RFC 792, RFC 4443). Pure. */

/** Bytes of a small probe: the ICMP header, the cookie, the number. */
export const SMALL_BYTES = 16;

/** Bytes of the IP and the ICMP header. */
const HEADERS: Readonly<Record<Family, { ip: number; request: number; reply: number }>> = {
  4: { ip: 20, request: 8, reply: 0 },
  6: { ip: 40, request: 128, reply: 129 },
};

/** Bytes of the ICMP message in an IP packet of so many. */
export function messageBytes(family: Family, packetBytes: number): number {
  return Math.max(SMALL_BYTES, packetBytes - HEADERS[family].ip);
}

/**
 * Writes an echo request to the front of a buffer that has zeros behind its first 16 bytes.
 * @param number 32 bits, by which its answer is known again; the ICMP sequence number is its lower half
 */
export function writeRequest(into: Uint8Array, family: Family, { identifier, cookie }: EchoMark, number: number): void {
  const view = new DataView(into.buffer, into.byteOffset, SMALL_BYTES);
  view.setUint16(0, HEADERS[family].request << 8);
  view.setUint16(2, 0);
  view.setUint16(4, identifier);
  view.setUint16(6, number & 0xffff);
  view.setUint32(8, cookie);
  view.setUint32(12, number);
  // The checksum of ICMPv6 is the kernel's to make, for it covers the addresses.
  if (family === 4) view.setUint16(2, checksum(view));
}

/** @returns the number of the request that an ICMP message answers, undefined if it is no answer to one of ours */
export function answeredNumber(message: Uint8Array, family: Family, mark: EchoMark): number | undefined {
  if (message.length < SMALL_BYTES) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, SMALL_BYTES);
  if (view.getUint16(0) !== HEADERS[family].reply << 8) return undefined;
  if (view.getUint16(4) !== mark.identifier || view.getUint32(8) !== mark.cookie) return undefined;
  const number = view.getUint32(12);
  return view.getUint16(6) === (number & 0xffff) ? number : undefined;
}

/** The Internet checksum (RFC 1071) of these bytes; zeros behind them make no difference. */
function checksum(view: DataView): number {
  let sum = 0;
  for (let at = 0; at < view.byteLength; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
