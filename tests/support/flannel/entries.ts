import type { Family } from "../../../src/net/family.ts";

/** What flanneld makes in the kernel (its pkg/backend/vxlan, v0.28), as commands: no protocol number, no mark. */

/** A node's lease, so far as the kernel's entries are made of it. */
export interface FlannelLease {
  /** with its length, as in `10.244.1.0/24` */
  readonly subnet: string;
  readonly publicIP: string;
  readonly mac: string;
}

/** Arguments of `ip` and of `bridge`, one command a line. */
export interface Commands {
  readonly ip: readonly string[];
  readonly bridge: readonly string[];
}

/** @returns the name of the device for VNI 1 */
export const deviceOf = (family: Family): string => (family === 4 ? "flannel.1" : "flannel-v6.1");

/** The first address of a subnet: that of the device, and by which the others reach the subnet. */
export const firstAddress = (subnet: string): string => subnet.replace(/\/\d+$/, "");

/** The link as it asks for it, with an MTU of 1450 in both families, of which the kernel leaves 1430 for IPv6. */
export function linkCommand(family: Family, { publicIP, mac }: Omit<FlannelLease, "subnet">): string {
  const device = `${deviceOf(family)} mtu ${family === 4 ? 1450 : 1430} address ${mac}`;
  return `link add ${device} type vxlan id 1 dstport 8472 local ${publicIP} dev eth0 nolearning`;
}

export function addressCommand(family: Family, { subnet }: Pick<FlannelLease, "subnet">): string {
  return `address add ${firstAddress(subnet)}/${family === 4 ? 32 : 128} dev ${deviceOf(family)}`;
}

/** For one peer, in its order: neighbour, forwarding entry, route. */
export function peerCommands(family: Family, { subnet, publicIP, mac }: FlannelLease): string[] {
  const device = deviceOf(family);
  const via = firstAddress(subnet);
  return [
    `ip neighbour replace ${via} lladdr ${mac} dev ${device} nud permanent`,
    `bridge fdb replace ${mac} dev ${device} dst ${publicIP} self permanent`,
    `ip route replace ${subnet} via ${via} dev ${device} onlink`,
  ];
}

/** All that it makes on a node with these peers, to be run by `ip -batch` and then `bridge -batch`. */
export function asFlanneld(family: Family, own: FlannelLease, peers: readonly FlannelLease[]): Commands {
  const entries = peers.flatMap((peer) => peerCommands(family, peer));
  const of = (program: string) =>
    entries.filter((line) => line.startsWith(program)).map((line) => line.slice(program.length + 1));
  return {
    ip: [linkCommand(family, own), `link set ${deviceOf(family)} up`, addressCommand(family, own), ...of("ip")],
    bridge: of("bridge"),
  };
}
