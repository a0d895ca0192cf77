import * as v from "valibot";
import { FAMILIES, type Family, mapFamilies, type PerFamily } from "../net/family.ts";
import {
  formatPrefix,
  makePrefix,
  nthAddress,
  type Prefix,
  parsePrefix,
  samePrefix,
  splitCidr,
} from "../net/prefix.ts";
import { parsed } from "./schema.ts";

/** The text of subnet.env, by which the CNI plugin learns this node's slice (flannel: WriteSubnetFile). */

export interface SubnetFileContent {
  readonly networks: PerFamily<Prefix>;
  readonly subnets: PerFamily<Prefix>;
  /** bytes; the smallest over the families */
  readonly mtu: number;
  readonly ipMasq: boolean;
  /** names of the node's own devices, without which no pod reaches another node */
  readonly devices: readonly string[];
}

const KEYS: Readonly<Record<Family, { network: string; subnet: string }>> = {
  4: { network: "FLANNEL_NETWORK", subnet: "FLANNEL_SUBNET" },
  6: { network: "FLANNEL_IPV6_NETWORK", subnet: "FLANNEL_IPV6_SUBNET" },
};
const MTU = "FLANNEL_MTU";
const IPMASQ = "FLANNEL_IPMASQ";
/** Not one of flannel's; its plugin passes over what it does not know. */
const DEVICES = "TARTAN_DEVICES";

/** The file's text: flannel's lines byte for byte, the subnet as its first usable address; then our own line. */
export function renderSubnetFile({ networks, subnets, mtu, ipMasq, devices }: SubnetFileContent): string {
  const lines: string[] = [];
  for (const family of FAMILIES) {
    const network = networks[family];
    const subnet = subnets[family];
    if (network === undefined || subnet === undefined) continue;
    lines.push(`${KEYS[family].network}=${formatPrefix(network)}`);
    lines.push(`${KEYS[family].subnet}=${nthAddress(subnet, 1n)}/${subnet.length}`);
  }
  lines.push(`${MTU}=${mtu}`, `${IPMASQ}=${ipMasq}`);
  if (devices.length > 0) lines.push(`${DEVICES}=${devices.join(",")}`);
  return `${lines.join("\n")}\n`;
}

/** The lines `KEY=value`. @throws Error if there is none */
export function assignmentsIn(text: string): Record<string, string> {
  const entries = text.split("\n").flatMap((line) => {
    const match = /^\s*([A-Z][A-Z0-9_]*)=(.*?)\s*$/.exec(line);
    return match ? [[match[1], match[2]]] : [];
  });
  if (entries.length === 0) throw new Error("it has no line of the form KEY=value");
  return Object.fromEntries(entries);
}

/** A subnet, which the file has as an address within it. */
function subnetOf(family: Family) {
  const parse = (text: string): Prefix | undefined => {
    const cidr = splitCidr(text);
    const subnet = cidr && makePrefix(cidr.address, cidr.length);
    return subnet?.family === family ? subnet : undefined;
  };
  return parsed(parse, `an IPv${family} address with a prefix length`);
}

/** Networks of one family, separated by commas: a network may be divided into several ranges. */
function networksOf(family: Family) {
  const parse = (text: string): Prefix[] | undefined => {
    const networks: Prefix[] = [];
    if (text === "") return networks;
    for (const part of text.split(",")) {
      const network = parsePrefix(part);
      if (network?.family !== family) return undefined;
      if (!networks.some((other) => samePrefix(other, network))) networks.push(network);
    }
    return networks;
  };
  return parsed(parse, `one or more IPv${family} networks`);
}

const PreviousSubnets = v.object({
  FLANNEL_SUBNET: v.optional(subnetOf(4)),
  FLANNEL_IPV6_SUBNET: v.optional(subnetOf(6)),
});

/** The subnets in a file's text, whatever else it lacks. @throws Error that names the line's key */
export function parseSubnetFile(text: string): PerFamily<Prefix> {
  const env = checked(PreviousSubnets, assignmentsIn(text));
  return perFamily({ 4: env.FLANNEL_SUBNET, 6: env.FLANNEL_IPV6_SUBNET });
}

/** What pods need of the file. */
export interface SubnetEnv {
  /** IPv4 first, without repetition */
  readonly networks: readonly Prefix[];
  readonly subnets: PerFamily<Prefix>;
  /** bytes */
  readonly mtu: number;
  /** the agent masquerades, so that the plugin must not */
  readonly ipMasq: boolean;
  /** none if flanneld wrote the file */
  readonly devices: readonly string[];
}

const SubnetEnvSchema = v.object({
  ...PreviousSubnets.entries,
  FLANNEL_NETWORK: v.optional(networksOf(4), ""),
  FLANNEL_IPV6_NETWORK: v.optional(networksOf(6), ""),
  FLANNEL_MTU: parsed((text) => (/^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined), "a number of bytes"),
  FLANNEL_IPMASQ: parsed((text) => text === "true", "true or false"),
  TARTAN_DEVICES: v.optional(
    parsed((text) => text.split(",").filter(Boolean), "names of devices"),
    "",
  ),
});

/** Of each line one key has to be there, as flannel's plugin wants it. */
const NEEDED = [[KEYS[4].network, KEYS[6].network], [KEYS[4].subnet, KEYS[6].subnet], [MTU], [IPMASQ]];

/** @throws Error that names the keys that are missing, or the first that is wrong */
export function parseSubnetEnv(text: string): SubnetEnv {
  const given = assignmentsIn(text);
  const missing = NEEDED.filter((keys) => !keys.some((key) => Object.hasOwn(given, key)));
  if (missing.length > 0) throw new Error(`it lacks ${missing.map((keys) => keys.join(" or ")).join(", ")}`);
  const env = checked(SubnetEnvSchema, given);
  return {
    networks: [...env.FLANNEL_NETWORK, ...env.FLANNEL_IPV6_NETWORK],
    subnets: perFamily({ 4: env.FLANNEL_SUBNET, 6: env.FLANNEL_IPV6_SUBNET }),
    mtu: env.FLANNEL_MTU,
    ipMasq: env.FLANNEL_IPMASQ,
    devices: env.TARTAN_DEVICES,
  };
}

function checked<T>(schema: v.GenericSchema<unknown, T>, given: unknown): T {
  const result = v.safeParse(schema, given);
  if (!result.success) throw new Error(`${v.getDotPath(result.issues[0])} ${result.issues[0].message}`);
  return result.output;
}

function perFamily(values: Readonly<Record<Family, Prefix | undefined>>): PerFamily<Prefix> {
  return mapFamilies<Prefix | undefined, Prefix>(values, (value) => value);
}
