import { LayeredMap } from "../base/layered-map.ts";
import type { ExternalInterface } from "../config/interface.ts";
import { UNDERLAY_MTU_MIN } from "../config/net-conf-schema.ts";
import type { NetworkConfig, VxlanOptions } from "../config/network.ts";
import { leaseChanges } from "../lease/changes.ts";
import { clashWith } from "../lease/conflicts.ts";
import type { Lease } from "../lease/lease.ts";
import type { Address } from "../net/address.ts";
import { ADDRESS_BITS, FAMILIES, type Family, familiesOf, type PerFamily } from "../net/family.ts";
import type { Mac } from "../net/mac.ts";
import { formatPrefix, type Prefix } from "../net/prefix.ts";
import { planBlackholes } from "./blackholes.ts";
import type { Desired, DesiredDelta, DesiredDevice, DesiredRoute, SkippedPeer } from "./desired.ts";
import { routeProtocol } from "./route-protocol.ts";
import type { TxChecksum } from "./tx-checksum.ts";

/** Bytes that the encapsulation takes from each packet: inner Ethernet 14, VXLAN 8, UDP 8, outer IP 20 or 40. */
export const OVERHEAD: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

/** flannel's device names. */
export function vxlanDeviceName(family: Family, vni: number): string {
  return family === 4 ? `flannel.${vni}` : `flannel-v6.${vni}`;
}

/**
 * The device's MTU: the underlay's, or the configured one if that is less, less the encapsulation (which runs over the
 * same family). The kernel makes no VXLAN device for larger packets than its underlay carries.
 */
export function vxlanMtu(options: VxlanOptions, external: ExternalInterface, family: Family): number {
  return Math.min(options.mtu ?? external.mtu, external.mtu) - OVERHEAD[family];
}

/** Says where the configured MTU can't be had; undefined where it can. Pure. */
export function mtuWarning({ mtu }: Pick<VxlanOptions, "mtu">, { name, mtu: most }: ExternalInterface) {
  if (mtu === undefined || mtu <= most) return undefined;
  return (
    `Backend.MTU is ${mtu}, but ${name}, which carries the packets, has ${most}, and that counts: raise the MTU of ${name}, ` +
    "or lower Backend.MTU"
  );
}

/** Says where packets of a family can't be carried at all; undefined where they can. Pure. */
export function mtuProblem(families: readonly Family[], { name, mtu }: ExternalInterface): string | undefined {
  const family = families.find((each) => mtu < UNDERLAY_MTU_MIN[each]);
  if (family === undefined) return undefined;
  const least = UNDERLAY_MTU_MIN[family];
  return (
    `${name} has an MTU of ${mtu}, and pods with IPv${family} need ${least} there (${least - OVERHEAD[family]} inside VXLAN): ` +
    `raise the MTU of ${name}, or turn IPv${family} off in the network's configuration (EnableIPv${family})`
  );
}

/** What flags and the machine say beside the network's configuration. */
export interface PlanSettings {
  /** --ip-blackhole-route */
  readonly blackholeRoute: boolean;
  readonly txChecksum: Readonly<Record<Family, TxChecksum>>;
}

export interface VxlanInput {
  readonly settings: PlanSettings;
  readonly network: NetworkConfig;
  readonly external: ExternalInterface;
  readonly own: Lease;
  readonly leases: readonly Lease[];
}

/** What one peer adds. Leases are immutable and keep their identity, so it is worked out once for each. */
interface PeerEntries {
  readonly key: string;
  readonly route: DesiredRoute;
  readonly vtepAddress: Address;
  readonly mac: Mac;
  readonly publicIP: Address;
}

/** The desired state of the VXLAN backend: one device for each family, three entries for each peer. */
export function planVxlan({ settings, network, external, own, leases }: VxlanInput): Desired {
  const devices: DesiredDevice[] = [];
  const routes = new Map<string, DesiredRoute>();
  const skipped: SkippedPeer[] = [];
  const networks: PerFamily<Prefix> = {};
  const clash = clashWith(own, familiesOf(network.ranges));
  for (const family of FAMILIES) {
    const range = network.ranges[family];
    if (range === undefined) continue;
    networks[family] = range.network;
    const vtep = own.vteps[family];
    const subnet = own.subnets[family];
    const local = external.addresses[family];
    if (vtep === undefined || subnet === undefined || local === undefined) {
      skipped.push({ key: own.key, reason: `this node's lease or interface has no IPv${family} part` });
      continue;
    }
    const name = vxlanDeviceName(family, vtep.vni);
    const neighbours = new Map<Address, Mac>();
    const forwarding = new Map<Mac, Address>();
    for (const lease of leases) {
      if (lease.key === own.key) continue;
      const peer = clash(lease) ?? peerEntries(lease, family, vtep.vni, name);
      if (typeof peer === "string") {
        skipped.push({ key: lease.key, ...(lease.node === undefined ? {} : { node: lease.node }), reason: peer });
        continue;
      }
      routes.set(peer.key, peer.route);
      neighbours.set(peer.vtepAddress, peer.mac);
      forwarding.set(peer.mac, peer.publicIP);
    }
    devices.push({
      family,
      name,
      vni: vtep.vni,
      port: network.backend.port,
      gbp: network.backend.gbp,
      learning: network.backend.learning,
      mac: vtep.mac,
      mtu: vxlanMtu(network.backend, external, family),
      local,
      underlay: external.index,
      txChecksum: settings.txChecksum[family],
      address: subnet.address,
      network: range.network,
      neighbours,
      forwarding,
    });
  }
  return { devices, routes, blackholes: planBlackholes(own, settings.blackholeRoute), networks, skipped };
}

/**
 * The same as `planVxlan(input)`, made from an earlier plan by way of what changed.
 * @returns undefined where more than a few leases are others, or some peer is, or was, skipped
 */
export function replanVxlan(
  before: { readonly input: VxlanInput; readonly desired: Desired },
  input: VxlanInput,
): { desired: Desired; delta: DesiredDelta } | undefined {
  const { settings, network, external, own, leases } = input;
  const from = before.desired;
  if (settings !== before.input.settings || network !== before.input.network) return undefined;
  if (external !== before.input.external || own !== before.input.own) return undefined;
  if (from.skipped.length > 0) return undefined;
  const clash = clashWith(own, familiesOf(network.ranges));
  const changes = leaseChanges(before.input.leases, leases, own.key, FEW);
  if (changes?.come.every((lease) => clash(lease) === undefined) !== true) return undefined;
  const routes = new Map<string, DesiredRoute | undefined>();
  const neighbours = new Map<string, ReadonlySet<Address>>();
  const forwarding = new Map<string, ReadonlySet<Mac>>();
  const devices: DesiredDevice[] = [];
  for (const device of from.devices) {
    const addresses = new Map<Address, Mac | undefined>();
    const macs = new Map<Mac, Address | undefined>();
    const entriesOf = (lease: Lease) => peerEntries(lease, device.family, device.vni, device.name);
    // What one lease gave up another one may have now, so all of the old goes first.
    for (const entries of changes.gone.map(entriesOf)) {
      if (typeof entries === "string") return undefined;
      routes.set(entries.key, undefined);
      addresses.set(entries.vtepAddress, undefined);
      macs.set(entries.mac, undefined);
    }
    for (const entries of changes.come.map(entriesOf)) {
      if (typeof entries === "string") return undefined;
      routes.set(entries.key, entries.route);
      addresses.set(entries.vtepAddress, entries.mac);
      macs.set(entries.mac, entries.publicIP);
    }
    neighbours.set(device.name, new Set(addresses.keys()));
    forwarding.set(device.name, new Set(macs.keys()));
    devices.push({
      ...device,
      neighbours: LayeredMap.of(device.neighbours).with(addresses),
      forwarding: LayeredMap.of(device.forwarding).with(macs),
    });
  }
  const desired = { ...from, devices, routes: LayeredMap.of(from.routes).with(routes) };
  return { desired, delta: { from, routes: new Set(routes.keys()), neighbours, forwarding } };
}

/** More changed leases than this are cheaper to plan from scratch. */
const FEW = 100;

interface KnownEntries {
  /** its name, which holds the VNI */
  readonly device: string;
  readonly entries: PeerEntries | string;
}

const cache = new WeakMap<Lease, PerFamily<KnownEntries>>();

function peerEntries(lease: Lease, family: Family, vni: number, device: string): PeerEntries | string {
  const known = cache.get(lease);
  const same = known?.[family];
  if (same?.device === device) return same.entries;
  const entries = makeEntries(lease, family, vni, device);
  cache.set(lease, { ...known, [family]: { device, entries } });
  return entries;
}

/** @returns a text that says why there are none */
function makeEntries(lease: Lease, family: Family, vni: number, device: string): PeerEntries | string {
  if (lease.backendType !== "vxlan") return `its backend is ${lease.backendType}, ours is vxlan`;
  const subnet = lease.subnets[family];
  const vtep = lease.vteps[family];
  const publicIP = lease.publicIPs[family];
  if (subnet === undefined) return `it has no IPv${family} subnet`;
  if (vtep === undefined || publicIP === undefined) return `it has no IPv${family} VTEP or public address`;
  if (vtep.vni !== vni) return `its VNI is ${vtep.vni}, ours is ${vni}`;
  // A subnet of full length has no address for a gateway beside the pod's own.
  if (subnet.length >= ADDRESS_BITS[family]) return `its subnet ${formatPrefix(subnet)} has no room for pods`;
  return {
    key: formatPrefix(subnet),
    route: { destination: subnet, gateway: subnet.address, device, onlink: true, protocol: routeProtocol(subnet) },
    vtepAddress: subnet.address,
    mac: vtep.mac,
    publicIP,
  };
}
