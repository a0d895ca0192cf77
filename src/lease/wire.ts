import * as v from "valibot";
import { mustBe, parsed, show } from "../config/schema.ts";
import { type Address, addressToBytes, familyOf, parseAddress } from "../net/address.ts";
import { FAMILIES, type Family, type PerFamily } from "../net/family.ts";
import { isUnicastMac, type Mac, parseMac } from "../net/mac.ts";
import { makePrefix, type Prefix, splitCidr } from "../net/prefix.ts";
import type { LeaseAttributes, Vtep } from "./lease.ts";

/** A value, or why there is none. `publicIPs` says whose record it is where that could be read in spite of it. */
export type Decoded<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string; readonly publicIPs?: PerFamily<Address> };

/** What stands in a key and in `PublicIP` where there is no IPv4. */
const NO_IPV4_SUBNET = "0.0.0.0-0";
const NO_ADDRESS: Readonly<Record<Family, string>> = { 4: "0.0.0.0", 6: "::" };

/**
 * flannel's key (pkg/subnet/subnet.go, MakeSubnetKey): `10.244.20.0-24`, `10.244.20.0-24&fc00::-64`, or
 * `0.0.0.0-0&fc00::-64` for IPv6 alone.
 */
export function formatSubnetKey(subnets: PerFamily<Prefix>): string {
  const [four, six] = FAMILIES.map((family) => {
    const subnet = subnets[family];
    return subnet && `${subnet.address}-${subnet.length}`;
  });
  if (four === undefined && six === undefined) throw new RangeError("a lease without a subnet has no key");
  return six === undefined ? `${four}` : `${four ?? NO_IPV4_SUBNET}&${six}`;
}

export function parseSubnetKey(key: string): Decoded<PerFamily<Prefix>> {
  const subnets: PerFamily<Prefix> = {};
  const parts = key.split("&");
  for (const [i, part] of parts.entries()) {
    const family = FAMILIES[i];
    if (part === NO_IPV4_SUBNET && parts.length === 2 && family === 4) continue;
    const cidr = family && splitPart(part, family);
    if (family === undefined || cidr === undefined) return { ok: false, reason: badKey(key) };
    const subnet = makePrefix(cidr.address, cidr.length);
    if (subnet.address !== cidr.address) {
      const meant = `${subnet.address}-${subnet.length}`;
      return { ok: false, reason: `the key's ${show(part)} has host bits set; the subnet would be ${meant}` };
    }
    subnets[family] = subnet;
  }
  return { ok: true, value: subnets };
}

/** Every subnet that a key may stand for, well formed or not: whatever it names must not be given to somebody else. */
export function claimedSubnets(key: string): Prefix[] {
  const claimed: Prefix[] = [];
  for (const [i, part] of key.split("&", FAMILIES.length).entries()) {
    const family = FAMILIES[i];
    const cidr = family && splitPart(part, family);
    if (cidr !== undefined) claimed.push(makePrefix(cidr.address, cidr.length));
  }
  return claimed;
}

/** Splits `address-length`. A length of 0 is flannel's "none", no subnet of a node. */
function splitPart(part: string, family: Family): { address: Address; length: number } | undefined {
  const dash = part.lastIndexOf("-");
  const cidr = dash < 0 ? undefined : splitCidr(`${part.slice(0, dash)}/${part.slice(dash + 1)}`);
  return cidr !== undefined && cidr.length > 0 && familyOf(cidr.address) === family ? cidr : undefined;
}

function badKey(key: string): string {
  return `the key ${show(key)} is not a subnet such as 10.244.20.0-24 or 10.244.20.0-24&fc00::-64`;
}

/** What flannel puts into `BackendData` and `BackendV6Data` for VXLAN. */
const VNI = "a whole number from 0 to 16777215";
const vtepSchema = v.object(
  {
    VNI: v.pipe(
      v.number(mustBe(VNI)),
      v.integer(mustBe(VNI)),
      v.minValue(0, mustBe(VNI)),
      v.maxValue(0xffffff, mustBe(VNI)),
    ),
    VtepMAC: parsed<Mac>((text) => {
      const mac = parseMac(text);
      return mac !== undefined && isUnicastMac(mac) ? mac : undefined;
    }, "a unicast Ethernet address"),
  },
  "is missing",
);

/** The value's outer form (pkg/lease/lease.go, LeaseAttrs). */
const attributesSchema = v.object({
  PublicIP: publicAddress(4),
  PublicIPv6: publicAddress(6),
  BackendType: v.optional(v.string(mustBe("a text")), ""),
  BackendData: v.optional(v.unknown()),
  BackendV6Data: v.optional(v.unknown()),
});

const PUBLIC_NAMES = { 4: "PublicIP", 6: "PublicIPv6" } as const;
const DATA_NAMES = { 4: "BackendData", 6: "BackendV6Data" } as const;

function publicAddress(family: Family) {
  const address = parsed<Address>((text) => parsePublicAddress(text, family), `a unicast IPv${family} address`);
  return v.pipe(
    v.nullish(address),
    v.transform((given) => (given === null || given === NO_ADDRESS[family] ? undefined : given)),
  );
}

/** An address that a node can publish for others to send to; undefined if the text is none. */
export function parsePublicAddress(text: string, family: Family): Address | undefined {
  const given = parseAddress(text);
  return given !== undefined && familyOf(given) === family && isUnicast(given) ? given : undefined;
}

function isUnicast(address: Address): boolean {
  // Flannel's way to write that there is none.
  if (address === NO_ADDRESS[familyOf(address)]) return true;
  const [first = 0] = addressToBytes(address);
  // 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4 and what lies above; ::1, ff00::/8
  return familyOf(address) === 4 ? first > 0 && first !== 127 && first < 224 : address !== "::1" && first !== 0xff;
}

/** What flannel makes JSON of, in this order, for one family's VXLAN device. */
export function vtepData({ vni, mac }: Vtep): object {
  return { VNI: vni, VtepMAC: mac };
}

/** @param where what holds the value, for messages */
export function decodeVtep(value: unknown, where: string): Decoded<Vtep> {
  const vtep = parseObject(vtepSchema, value, where);
  return vtep.ok ? { ok: true, value: { vni: vtep.value.VNI, mac: vtep.value.VtepMAC } } : vtep;
}

/** The value of flannel's record: byte for byte what Go's encoding/json makes of its LeaseAttrs. */
export function encodeAttributes({ publicIPs, backendType, vteps }: LeaseAttributes): string {
  return JSON.stringify({
    PublicIP: publicIPs[4] ?? NO_ADDRESS[4],
    PublicIPv6: publicIPs[6] ?? null,
    BackendType: backendType === "" ? undefined : backendType,
    BackendData: vteps[4] && vtepData(vteps[4]),
    BackendV6Data: vteps[6] && vtepData(vteps[6]),
  });
}

/**
 * Reads the value of flannel's record. Unknown fields are ignored. A VXLAN lease may lack its VTEP: a reservation that
 * no node has taken yet.
 */
export function decodeAttributes(text: string): Decoded<LeaseAttributes> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { ok: false, reason: `the value is not JSON: ${show(text)}` };
  }
  const outer = parseObject(attributesSchema, json, "");
  if (!outer.ok) return outer;
  const { PublicIP, PublicIPv6, BackendType } = outer.value;
  const publicIPs: PerFamily<Address> = {};
  if (PublicIP !== undefined) publicIPs[4] = PublicIP;
  if (PublicIPv6 !== undefined) publicIPs[6] = PublicIPv6;
  const vteps: PerFamily<Vtep> = {};
  for (const family of BackendType === "vxlan" ? FAMILIES : []) {
    const data = outer.value[DATA_NAMES[family]];
    if (data === undefined || data === null) continue;
    const vtep = decodeVtep(data, DATA_NAMES[family]);
    if (!vtep.ok) return { ...vtep, publicIPs };
    if (publicIPs[family] === undefined) {
      return { ok: false, reason: `${PUBLIC_NAMES[family]} is missing beside ${DATA_NAMES[family]}`, publicIPs };
    }
    vteps[family] = vtep.value;
  }
  return { ok: true, value: { publicIPs, backendType: BackendType, vteps } };
}

/** @returns why a lease of these subnets can't be used: each family needs its public address */
export function missingPublicIP(subnets: PerFamily<Prefix>, publicIPs: PerFamily<Address>): string | undefined {
  const family = FAMILIES.find((family) => subnets[family] !== undefined && publicIPs[family] === undefined);
  return family && `${PUBLIC_NAMES[family]} is missing, though the key has an IPv${family} subnet`;
}

/** @param where the object's name, empty for the whole value */
function parseObject<T>(schema: v.GenericSchema<unknown, T>, value: unknown, where: string): Decoded<T> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { ok: false, reason: `${where || "the value"} must be a JSON object, not ${show(value)}` };
  }
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return { ok: true, value: result.output };
  const [issue] = result.issues;
  const field = [where, v.getDotPath(issue)].filter((name) => name).join(".");
  return { ok: false, reason: `${field} ${issue.message}` };
}
