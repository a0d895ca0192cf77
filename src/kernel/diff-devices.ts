import { LINUX_VXLAN_PORT } from "../config/network.ts";
import type { Desired, DesiredDevice } from "../desired/desired.ts";
import type { LinkChanges, LinkParameters } from "../ffi/libnl/link.ts";
import { familyOf } from "../net/address.ts";
import { ADDRESS_BITS, type Family } from "../net/family.ts";
import { containsAddress } from "../net/prefix.ts";
import type { Actual } from "./mirror.ts";
import type { AddressOperation, LinkOperation } from "./operations.ts";
import { isOwnDevice, OWN_ALIAS } from "./owned.ts";
import type { Link, VxlanState } from "./state.ts";

/** bytes (RFC 8200) */
const IPV6_MTU_MIN = 1280;

export interface DeviceDiff {
  /** devices that exist as desired and are up, by name: entries can be put on them */
  readonly ready: ReadonlyMap<string, Link>;
  readonly operations: LinkOperation[];
}

/** @param prune whether devices of ours that are no longer wanted go */
export function diffDevices(desired: Desired, actual: Actual, prune: boolean): DeviceDiff {
  const ready = new Map<string, Link>();
  // What holds a name or a VNI that others need goes first, what is only in excess last.
  const inTheWay: LinkOperation[] = [];
  const changes: LinkOperation[] = [];
  const excess: LinkOperation[] = [];
  const gone = new Set<number>();
  const own: Link[] = [];
  const byName = new Map<string, Link>();
  for (const link of actual.links.values()) {
    byName.set(link.name, link);
    if (link.alias === OWN_ALIAS && isOwnDevice(link)) own.push(link);
  }
  const remove = (from: LinkOperation[], link: Link, why: string): void => {
    if (gone.has(link.index)) return;
    gone.add(link.index);
    from.push({ kind: "link-delete", index: link.index, name: link.name, why });
  };
  for (const device of desired.devices) {
    const link = byName.get(device.name);
    // A device of ours under another name holds the VNI and the port that the new one needs.
    for (const other of own) {
      if (other !== link && clashes(device, other) && !desired.devices.some((wanted) => wanted.name === other.name)) {
        remove(inTheWay, other, `it holds VNI ${device.vni} of ${device.name}`);
      }
    }
    if (link === undefined) {
      changes.push({ kind: "link-add", device, why: "it is missing" });
      continue;
    }
    const why = incompatibility(device, link);
    if (why !== undefined) {
      remove(inTheWay, link, why);
      changes.push({ kind: "link-add", device, why });
      continue;
    }
    changes.push(...diffLink(device, link));
    if (link.up) ready.set(device.name, link);
  }
  if (prune) {
    for (const link of own) {
      if (!desired.devices.some((device) => device.name === link.name))
        remove(excess, link, "it is ours and no longer wanted");
    }
  }
  return { ready, operations: [...inTheWay, ...changes, ...excess] };
}

/** What can't be changed on an existing device (drivers/net/vxlan, vxlan_changelink); flannel's list without the rest. */
function incompatibility(device: DesiredDevice, link: Link): string | undefined {
  const { vxlan } = link;
  const port = device.port ?? LINUX_VXLAN_PORT;
  if (vxlan === undefined) return `it is of kind ${link.kind || "physical"}, not vxlan`;
  if (vxlan.vni !== device.vni) return `its VNI is ${vxlan.vni}, not ${device.vni}`;
  if (vxlan.port !== port) return `its port is ${vxlan.port}, not ${port}`;
  if (vxlan.gbp !== device.gbp) return `GBP is ${vxlan.gbp ? "on" : "off"}, not ${device.gbp ? "on" : "off"}`;
  if (vxlan.group !== undefined) return `it has the group ${vxlan.group}`;
  if (vxlan.l2miss) return "it reports L2 misses";
  if (vxlanFamily(vxlan) !== device.family) return `it is one of IPv${vxlanFamily(vxlan)}`;
  return undefined;
}

/** A device without a local address is one of IPv4. */
function vxlanFamily({ local }: VxlanState): Family {
  return local === undefined ? 4 : familyOf(local);
}

/** Whether the kernel would refuse to have both. */
function clashes({ vni, port = LINUX_VXLAN_PORT, family }: DesiredDevice, { vxlan }: Link): boolean {
  return vxlan !== undefined && vxlan.vni === vni && vxlan.port === port && vxlanFamily(vxlan) === family;
}

/** What any link has and what only VXLAN has are set one by one: together the kernel refuses another MTU. */
function diffLink(device: DesiredDevice, link: Link): LinkOperation[] {
  const { mac, mtu, learning, local, underlay } = device;
  const common = differences<Omit<LinkParameters, "name">>({ mac, mtu, alias: OWN_ALIAS, up: true }, link);
  const vxlan = link.vxlan ? differences({ learning, local, underlay }, link.vxlan) : undefined;
  const changes = [common, vxlan].flatMap((found): LinkOperation[] =>
    found === undefined ? [] : [{ kind: "link-change", index: link.index, name: link.name, ...found }],
  );
  return [...changes, ...diffOffload(device, link)];
}

function diffOffload({ txChecksum: { wanted, why } }: DesiredDevice, link: Link): LinkOperation[] {
  const { index, name, txChecksum } = link;
  if (wanted === undefined || txChecksum === undefined || txChecksum === wanted) return [];
  const [is, not] = wanted ? ["off", "on"] : ["on", "off"];
  const what = `its checksum offload is ${is}, not ${not}: ${why}`;
  return [{ kind: "offload-change", index, name, txChecksum: wanted, why: what }];
}

function differences<T extends LinkChanges>(
  wanted: T,
  found: { readonly [K in keyof T]: T[K] | undefined },
): { changes: Partial<T>; why: string } | undefined {
  const changes: Partial<T> = {};
  const why: string[] = [];
  for (const key in wanted) {
    if (wanted[key] === found[key]) continue;
    changes[key] = wanted[key];
    if (key !== "alias") why.push(key === "up" ? "it is down" : `its ${key} is ${found[key]}, not ${wanted[key]}`);
  }
  if (Object.keys(changes).length === 0) return undefined;
  return { changes, why: why.join(", ") || "to mark it as ours" };
}

export function diffAddresses(device: DesiredDevice, link: Link, actual: Actual): AddressOperation[] {
  const operations: AddressOperation[] = [];
  const length = ADDRESS_BITS[device.family];
  const place = { index: link.index, device: device.name };
  const present = actual.addresses.get(link.index) ?? [];
  if (!present.some((found) => found.address === device.address && found.length === length)) {
    // The kernel refuses it then, and says only that the argument is invalid.
    const small = device.family === 6 && link.mtu < IPV6_MTU_MIN;
    const why = small
      ? `it is missing: IPv6 needs an MTU of ${IPV6_MTU_MIN}, the device has ${link.mtu}`
      : "it is missing";
    operations.push({ kind: "address-add", ...place, address: device.address, length, why });
  }
  for (const found of present) {
    if (found.address === device.address && found.length === length) continue;
    if (!containsAddress(device.network, found.address)) continue;
    const why = `only ${device.address}/${length} of the pod network belongs there`;
    operations.push({ kind: "address-delete", ...place, address: found.address, length: found.length, why });
  }
  return operations;
}

/** What is wrong with our devices and their addresses, in words. */
export function deviceProblems(desired: Desired, actual: Actual): string[] {
  const { ready, operations } = diffDevices(desired, actual, false);
  const problems = operations.map((operation) =>
    operation.kind === "link-add"
      ? `${operation.device.name}: ${operation.why}`
      : `${operation.name}: ${operation.why}`,
  );
  for (const device of desired.devices) {
    const link = ready.get(device.name);
    if (link === undefined) continue;
    for (const { address, length, why } of diffAddresses(device, link, actual)) {
      problems.push(`${device.name}: address ${address}/${length}: ${why}`);
    }
  }
  return [...new Set(problems)];
}
