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
  write16(into, 0, HEADERS[family].request << 8);
  write16(into, 2, 0);
  write16(into, 4, identifier);
  write16(into, 6, number);
  write16(into, 8, cookie >>> 16);
  write16(into, 10, cookie);
  write16(into, 12, number >>> 16);
  write16(into, 14, number);
  // The checksum of ICMPv6 is the kernel's to make, for it covers the addresses.
  if (family === 4) write16(into, 2, checksum(into));
}

/** @returns the number of the request that an ICMP message answers, undefined if it is no answer to one of ours */
export function answeredNumber(message: Uint8Array, family: Family, mark: EchoMark): number | undefined {
  if (message.length < SMALL_BYTES) return undefined;
  if (read16(message, 0) !== HEADERS[family].reply << 8) return undefined;
  if (read16(message, 4) !== mark.identifier || read32(message, 8) !== mark.cookie) return undefined;
  const number = read32(message, 12);
  return read16(message, 6) === (number & 0xffff) ? number : undefined;
}

/** The Internet checksum (RFC 1071) of a message that is all zeros behind its first bytes; those make no difference. */
function checksum(message: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < SMALL_BYTES; at += 2) sum += read16(message, at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

// Not by a DataView, which would be one more object for each of some hundred messages a round.

function write16(into: Uint8Array, at: number, value: number): void {
  into[at] = (value >>> 8) & 0xff;
  into[at + 1] = value & 0xff;
}

function read16(from: Uint8Array, at: number): number {
  return ((from[at] ?? 0) << 8) | (from[at + 1] ?? 0);
}

function read32(from: Uint8Array, at: number): number {
  return ((read16(from, at) << 16) | read16(from, at + 2)) >>> 0;
}
