import { type Address, addressFromBytes, familyOf } from "../../net/address.ts";
import { ADDRESS_BITS, type Family } from "../../net/family.ts";

/** Reading of Ethernet frames down to an ICMP echo, bare or inside of VXLAN, over IPv4 or IPv6. Pure. */

/** flannel's port, which is Linux's own default; IANA's is 4789. */
const VXLAN_PORT = 8472;
const ETHERNET_BYTES = 14;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const IPV6_HEADER_BYTES = 40;
const PROTOCOL_UDP = 17;
const UDP_BYTES = 8;
const VXLAN_BYTES = 8;
/** the flag that says that the VNI is valid (RFC 7348) */
const VXLAN_FLAG_VNI = 0x08;
/** By family: the protocol's number, and the types of an echo (RFC 792, RFC 4443). */
const ICMP: Readonly<Record<Family, { protocol: number; request: number; reply: number }>> = {
  4: { protocol: 1, request: 8, reply: 0 },
  6: { protocol: 58, request: 128, reply: 129 },
};

/** An ICMP echo. */
export interface Echo {
  readonly source: Address;
  readonly destination: Address;
  readonly kind: "request" | "reply";
  readonly id: number;
  readonly sequence: number;
  /** bytes of the ICMP message */
  readonly length: number;
}

/** What VXLAN puts around a frame (RFC 7348). */
export interface VxlanOuter {
  readonly source: Address;
  readonly sourcePort: number;
  readonly destination: Address;
  readonly destinationPort: number;
  readonly flags: number;
  readonly vni: number;
}

interface IpPacket {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly payload: DataView;
}

/** @returns the echo in a frame, and what is around it if that is VXLAN; undefined for all other frames */
export function decodeFrame(frame: Uint8Array): { echo: Echo; outer?: VxlanOuter } | undefined {
  const packet = packetIn(new DataView(frame.buffer, frame.byteOffset, frame.byteLength));
  if (packet === undefined) return undefined;
  const bare = echoIn(packet);
  if (bare !== undefined) return { echo: bare };
  const vxlan = vxlanIn(packet);
  const inner = vxlan && packetIn(vxlan.frame);
  const echo = inner && echoIn(inner);
  return vxlan && echo && { echo, outer: vxlan.outer };
}

/** The IP packet in an Ethernet frame. */
function packetIn(frame: DataView): IpPacket | undefined {
  if (frame.byteLength < ETHERNET_BYTES) return undefined;
  const type = frame.getUint16(12);
  const packet = tail(frame, ETHERNET_BYTES);
  if (type === ETHERTYPE_IPV4) return ipv4In(packet);
  return type === ETHERTYPE_IPV6 ? ipv6In(packet) : undefined;
}

/** None for a fragment that is not the first. */
function ipv4In(packet: DataView): IpPacket | undefined {
  if (packet.byteLength < 20) return undefined;
  const headerBytes = (packet.getUint8(0) & 0x0f) * 4;
  const totalBytes = packet.getUint16(2);
  const fragmentOffset = packet.getUint16(6) & 0x1fff;
  const sound = packet.getUint8(0) >> 4 === 4 && headerBytes >= 20 && totalBytes >= headerBytes;
  if (!sound || totalBytes > packet.byteLength || fragmentOffset !== 0) return undefined;
  return {
    source: addressAt(packet, 12, 4),
    destination: addressAt(packet, 16, 4),
    protocol: packet.getUint8(9),
    // A short frame is padded: the packet's own length counts.
    payload: new DataView(packet.buffer, packet.byteOffset + headerBytes, totalBytes - headerBytes),
  };
}

/** Extension headers are not gone through: neither a ping nor VXLAN has any. */
function ipv6In(packet: DataView): IpPacket | undefined {
  if (packet.byteLength < IPV6_HEADER_BYTES || packet.getUint8(0) >> 4 !== 6) return undefined;
  const payloadBytes = packet.getUint16(4);
  if (IPV6_HEADER_BYTES + payloadBytes > packet.byteLength) return undefined;
  return {
    source: addressAt(packet, 8, 6),
    destination: addressAt(packet, 24, 6),
    protocol: packet.getUint8(6),
    payload: new DataView(packet.buffer, packet.byteOffset + IPV6_HEADER_BYTES, payloadBytes),
  };
}

function echoIn({ source, destination, protocol, payload }: IpPacket): Echo | undefined {
  const icmp = ICMP[familyOf(source)];
  if (protocol !== icmp.protocol || payload.byteLength < 8) return undefined;
  const type = payload.getUint8(0);
  if (type !== icmp.request && type !== icmp.reply) return undefined;
  return {
    source,
    destination,
    kind: type === icmp.request ? "request" : "reply",
    id: payload.getUint16(4),
    sequence: payload.getUint16(6),
    length: payload.byteLength,
  };
}

function vxlanIn({
  source,
  destination,
  protocol,
  payload,
}: IpPacket): { outer: VxlanOuter; frame: DataView } | undefined {
  if (protocol !== PROTOCOL_UDP || payload.byteLength < UDP_BYTES + VXLAN_BYTES) return undefined;
  const destinationPort = payload.getUint16(2);
  const flags = payload.getUint8(UDP_BYTES);
  if (destinationPort !== VXLAN_PORT || (flags & VXLAN_FLAG_VNI) === 0) return undefined;
  const vni = payload.getUint32(UDP_BYTES + 4) >>> 8;
  return {
    outer: { source, sourcePort: payload.getUint16(0), destination, destinationPort, flags, vni },
    frame: tail(payload, UDP_BYTES + VXLAN_BYTES),
  };
}

function tail(view: DataView, offset: number): DataView {
  return new DataView(view.buffer, view.byteOffset + offset, view.byteLength - offset);
}

function addressAt(view: DataView, offset: number, family: Family): Address {
  return addressFromBytes(new Uint8Array(view.buffer, view.byteOffset + offset, ADDRESS_BITS[family] / 8));
}

/**
 * One line as tcpdump prints it, in local time.
 * @param time milliseconds since the epoch, to the microsecond
 */
export function formatVxlanPing(outer: VxlanOuter, echo: Echo, time: number): string {
  const flags = `0x${outer.flags.toString(16).padStart(2, "0")}`;
  const ip = (address: Address) => (familyOf(address) === 6 ? "IP6" : "IP");
  const what = familyOf(echo.source) === 6 ? `ICMP6, echo ${echo.kind}` : `ICMP echo ${echo.kind}`;
  return [
    `${clock(time)} ${ip(outer.source)} ${outer.source}.${outer.sourcePort} > ${outer.destination}.${outer.destinationPort}`,
    `VXLAN, flags [I] (${flags}), vni ${outer.vni}`,
    `${ip(echo.source)} ${echo.source} > ${echo.destination}`,
    `${what}, id ${echo.id}, seq ${echo.sequence}, length ${echo.length}`,
  ].join(": ");
}

/** `12:00:01.123456` */
function clock(time: number): string {
  const microseconds = Math.round(time * 1000);
  const date = new Date(Math.floor(microseconds / 1000));
  const part = (value: number, digits = 2) => `${value}`.padStart(digits, "0");
  const seconds = `${part(date.getSeconds())}.${part(microseconds % 1_000_000, 6)}`;
  return `${part(date.getHours())}:${part(date.getMinutes())}:${seconds}`;
}
