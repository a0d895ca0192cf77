import { type Address, familyOf, parseAddress } from "../net/address.ts";
import type { Family, PerFamily } from "../net/family.ts";
import { compileInterfaceRegex } from "./iface-regex.ts";
import type { ExternalInterface, HostInterface, HostInventory } from "./interface.ts";
import { canBeSource, usableAddresses } from "./usable-addresses.ts";

/** What the flags say about the external interface. */
export interface WantedInterface {
  /** --iface: names or addresses */
  readonly iface: readonly string[];
  /** --iface-regex */
  readonly ifaceRegex: readonly string[];
  /** --iface-can-reach */
  readonly canReach?: Address;
  /** --public-ip */
  readonly publicIPs: PerFamily<Address>;
}

/** No interface of the host fits; the message says why and lists what there is. */
export class NoInterfaceError extends Error {
  override readonly name = "NoInterfaceError";
}

interface Candidate {
  readonly found: HostInterface;
  /** the addresses by which it was found */
  readonly by: PerFamily<Address>;
}

/** A candidate, or why there is none. */
type Lookup = Candidate | string;

const PUBLIC_FLAGS: Readonly<Record<Family, string>> = { 4: "--public-ip", 6: "--public-ipv6" };

/** Our own devices, which flanneld's patterns would match too. */
const OWN_DEVICE = /^flannel(-v6)?\./;

/**
 * Chooses the interface that carries the traffic between nodes, by flanneld's rules: each --iface in order, then each
 * --iface-regex in order (addresses of all interfaces first, then names), then the one that the kernel would use towards
 * --iface-can-reach; if none of them is given, the interface that has --public-ip, else that of the default route. One
 * interface serves every family.
 *
 * Three deliberate differences, where flanneld would fail: a --public-ip that no interface has (a cloud that translates
 * addresses) is published, and the default route's interface carries the traffic; an interface whose name matches a
 * pattern but that has no usable address is passed over; and own devices never match a pattern.
 *
 * The source of encapsulated packets is --public-ip if the host has it, else the address by which the interface was
 * found, else its first usable one.
 * @throws NoInterfaceError
 */
export function chooseExternalInterface(
  inventory: HostInventory,
  wanted: WantedInterface,
  families: readonly Family[],
): ExternalInterface {
  const failures: string[] = [];
  for (const { flag, lookup } of attempts(inventory, wanted, families)) {
    const result = lookup();
    const complete = typeof result === "string" ? result : accept(result, inventory, wanted, families);
    if (typeof complete !== "string") return complete;
    failures.push(`${flag}: ${complete}`);
  }
  throw new NoInterfaceError(
    `no interface to use: ${failures.join("; ")}. This host has ${describeInventory(inventory)}`,
  );
}

function attempts(inventory: HostInventory, wanted: WantedInterface, families: readonly Family[]) {
  const { iface, ifaceRegex, canReach, publicIPs } = wanted;
  const flagged: { flag: string; lookup: () => Lookup }[] = [
    ...iface.map((text) => ({ flag: `--iface=${text}`, lookup: () => byNameOrAddress(inventory, text, families) })),
    ...ifaceRegex.map((text) => ({
      flag: `--iface-regex=${text}`,
      lookup: () => byPattern(inventory, text, families),
    })),
  ];
  if (canReach !== undefined) {
    flagged.push({ flag: `--iface-can-reach=${canReach}`, lookup: () => byRoute(inventory, canReach, families) });
  }
  if (flagged.length > 0) return flagged;
  const published = families.flatMap((family) => {
    const address = publicIPs[family];
    const holder = address && holderOf(inventory, address);
    return holder ? [{ flag: `${PUBLIC_FLAGS[family]}=${address}`, found: holder }] : [];
  });
  const [first, second] = published;
  if (first === undefined) return [{ flag: "default route", lookup: () => byDefaultRoute(inventory, families) }];
  const { flag, found } = first;
  if (second === undefined || second.found === found) return [{ flag, lookup: (): Lookup => ({ found, by: {} }) }];
  const apart = `${found.name} has it, but ${second.found.name} has ${second.flag}, and one interface has to serve both`;
  return [{ flag, lookup: (): Lookup => `${apart}; name one with --iface` }];
}

function holderOf({ interfaces }: HostInventory, address: Address): HostInterface | undefined {
  return interfaces.find(({ addresses }) => addresses.some((one) => one.address === address));
}

function byNameOrAddress(inventory: HostInventory, text: string, families: readonly Family[]): Lookup {
  const address = parseAddress(text);
  if (address === undefined) {
    const found = inventory.interfaces.find(({ name }) => name === text);
    return found ? { found, by: {} } : "no interface has this name";
  }
  const family = familyOf(address);
  if (!families.includes(family)) return `the pod network has no IPv${family}`;
  const found = holderOf(inventory, address);
  if (found === undefined) return "no interface has this address";
  return { found, by: canBeSource(address) ? { [family]: address } : {} };
}

function byPattern({ interfaces }: HostInventory, text: string, families: readonly Family[]): Lookup {
  const pattern = compileInterfaceRegex(text);
  const foreign = interfaces.filter(({ name }) => !OWN_DEVICE.test(name));
  for (const found of foreign) {
    const by: PerFamily<Address> = {};
    for (const family of families) {
      const address = usableAddresses(found, family).find((one) => pattern.test(one));
      if (address !== undefined) by[family] = address;
    }
    if (families.every((family) => by[family] !== undefined)) return { found, by };
  }
  const named = foreign.filter(({ name }) => pattern.test(name));
  const found = named.find((one) => families.every((family) => usableAddresses(one, family).length > 0)) ?? named[0];
  return found ? { found, by: {} } : "it matches no interface's address or name";
}

function byRoute({ interfaces, towards }: HostInventory, target: Address, families: readonly Family[]): Lookup {
  const family = familyOf(target);
  if (!families.includes(family)) return `the pod network has no IPv${family}`;
  if (towards === undefined) return "the way to it is not known";
  if (towards instanceof Error) return towards.message;
  if (towards.local) return "it is an address of this host; name one that lies beyond the interface";
  const found = interfaces.find(({ index }) => index === towards.index);
  if (found === undefined) return "the way to it leads through the pod network itself";
  const { source } = towards;
  return { found, by: source !== undefined && canBeSource(source) ? { [family]: source } : {} };
}

function byDefaultRoute({ interfaces, defaultRoutes }: HostInventory, families: readonly Family[]): Lookup {
  const found = families.map((family) => interfaces.find(({ index }) => index === defaultRoutes[family]));
  const missing = families.find((_, at) => found[at] === undefined);
  if (missing !== undefined) return `there is no IPv${missing} default route; name the interface with --iface`;
  const [first] = found;
  if (first === undefined) return "the pod network has no address family";
  const other = found.find((one) => one?.index !== first.index);
  if (other === undefined) return { found: first, by: {} };
  return `the families' default routes use different interfaces, ${first.name} and ${other.name}; name one with --iface`;
}

function accept(
  { found, by }: Candidate,
  inventory: HostInventory,
  { publicIPs }: WantedInterface,
  families: readonly Family[],
): ExternalInterface | string {
  if (found.mtu <= 0) return `interface ${found.name} has no MTU`;
  const sources: PerFamily<Address> = {};
  const published: PerFamily<Address> = {};
  for (const family of families) {
    const wanted = publicIPs[family];
    const own = wanted !== undefined && holderOf(inventory, wanted) !== undefined ? wanted : undefined;
    const source = own ?? by[family] ?? usableAddresses(found, family)[0];
    if (source === undefined) return noAddress(found, family, families);
    sources[family] = source;
    published[family] = wanted ?? source;
  }
  return { index: found.index, name: found.name, mtu: found.mtu, addresses: sources, publicIPs: published };
}

function noAddress({ name, addresses }: HostInterface, family: Family, families: readonly Family[]): string {
  const unusable = addresses
    .filter((one) => one.family === family)
    .map(({ address, duplicate }) => (duplicate ? `${address} of another host` : address));
  const only = unusable.length > 0 ? ` (only ${unusable.join(", ")})` : "";
  const both = families.length > 1 ? ", and one interface has to serve both families" : "";
  return `interface ${name} has no usable IPv${family} address${only}${both}`;
}

/** `eth0 (192.168.1.5, fe80::1; IPv4 default route), lo (127.0.0.1)` */
function describeInventory({ interfaces, defaultRoutes }: HostInventory): string {
  if (interfaces.length === 0) return "no interfaces";
  const listed = interfaces.map(({ index, name, addresses }) => {
    const parts = [addresses.map(({ address }) => address).join(", ") || "no address"];
    if (defaultRoutes[4] === index) parts.push("IPv4 default route");
    if (defaultRoutes[6] === index) parts.push("IPv6 default route");
    return `${name} (${parts.join("; ")})`;
  });
  const routeless = Object.values(defaultRoutes).length === 0 ? ", and no default route" : "";
  return `${listed.join(", ")}${routeless}`;
}
