import { type Address, addressFromBytes } from "../../net/address.ts";

/** Reading of Ethernet frames down to an ICMP echo, bare or inside of VXLAN. Pure; IPv4 only. */

/** flannel's port, which is Linux's own default; IANA's is 4789. */
const VXLAN_PORT = 8472;
const ETHERNET_BYTES = 14;
const ETHERTYPE_IPV4 = 0x0800;
const PROTOCOL_ICMP = 1;
const PROTOCOL_UDP = 17;
const UDP_BYTES = 8;
const VXLAN_BYTES = 8;
/** the flag that says that the VNI is valid (RFC 7348) */
const VXLAN_FLAG_VNI = 0x08;
const ICMP_ECHO_REPLY = 0;
const ICMP_ECHO_REQUEST = 8;

/** An ICMP echo (RFC 792). */
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

interface Ipv4Packet {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly payload: DataView;
}

/** @returns the echo in a frame, and what is around it if that is VXLAN; undefined for all other frames */
export function decodeFrame(frame: Uint8Array): { echo: Echo; outer?: VxlanOuter } | undefined {
  const packet = ipv4In(new DataView(frame.buffer, frame.byteOffset, frame.byteLength));
  if (packet === undefined) return undefined;
  const bare = echoIn(packet);
  if (bare !== undefined) return { echo: bare };
  const vxlan = vxlanIn(packet);
  const inner = vxlan && ipv4In(vxlan.frame);
  const echo = inner && echoIn(inner);
  return vxlan && echo && { echo, outer: vxlan.outer };
}

/** The IPv4 packet in an Ethernet frame; none for a fragment that is not the first. */
function ipv4In(frame: DataView): Ipv4Packet | undefined {
  if (frame.byteLength < ETHERNET_BYTES + 20 || frame.getUint16(12) !== ETHERTYPE_IPV4) return undefined;
  const packet = tail(frame, ETHERNET_BYTES);
  const headerBytes = (packet.getUint8(0) & 0x0f) * 4;
  const totalBytes = packet.getUint16(2);
  const fragmentOffset = packet.getUint16(6) & 0x1fff;
  const sound = packet.getUint8(0) >> 4 === 4 && headerBytes >= 20 && totalBytes >= headerBytes;
  if (!sound || totalBytes > packet.byteLength || fragmentOffset !== 0) return undefined;
  return {
    source: addressAt(packet, 12),
    destination: addressAt(packet, 16),
    protocol: packet.getUint8(9),
    // A short frame is padded: the packet's own length counts.
    payload: new DataView(packet.buffer, packet.byteOffset + headerBytes, totalBytes - headerBytes),
  };
}

function echoIn({ source, destination, protocol, payload }: Ipv4Packet): Echo | undefined {
  if (protocol !== PROTOCOL_ICMP || payload.byteLength < 8) return undefined;
  const type = payload.getUint8(0);
  if (type !== ICMP_ECHO_REQUEST && type !== ICMP_ECHO_REPLY) return undefined;
  return {
    source,
    destination,
    kind: type === ICMP_ECHO_REQUEST ? "request" : "reply",
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
}: Ipv4Packet): { outer: VxlanOuter; frame: DataView } | undefined {
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

function addressAt(view: DataView, offset: number): Address {
  return addressFromBytes(new Uint8Array(view.buffer, view.byteOffset + offset, 4));
}

/**
 * One line as tcpdump prints it, in local time.
 * @param time milliseconds since the epoch, to the microsecond
 */
export function formatVxlanPing(outer: VxlanOuter, echo: Echo, time: number): string {
  const flags = `0x${outer.flags.toString(16).padStart(2, "0")}`;
  return [
    `${clock(time)} IP ${outer.source}.${outer.sourcePort} > ${outer.destination}.${outer.destinationPort}`,
    `VXLAN, flags [I] (${flags}), vni ${outer.vni}`,
    `IP ${echo.source} > ${echo.destination}`,
    `ICMP echo ${echo.kind}, id ${echo.id}, seq ${echo.sequence}, length ${echo.length}`,
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
