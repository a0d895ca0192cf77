import { type Address, parseAddress } from "../net/address.ts";
import { FAMILIES, type Family, type PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";

/** What the rules follow from. */
export interface RulesInput {
  /** the pod network; rules are made for the families that it has */
  readonly networks: PerFamily<Prefix>;
  /** this node's part of it */
  readonly subnets: PerFamily<Prefix>;
  /** masquerade what leaves the pod network */
  readonly masquerade: boolean;
  /** with fully random source ports */
  readonly randomFully: boolean;
  /** accept what is forwarded from and to the pod network */
  readonly forward: boolean;
}

export interface AddressMatch {
  readonly prefix: Prefix;
  readonly not?: true;
}

export type Verdict = "accept" | "return" | "masquerade" | "masquerade fully-random";

/** One rule, whatever the packet filter is in which it is written. */
export interface Rule {
  readonly source?: AddressMatch;
  readonly destination?: AddressMatch;
  /** the packet's mark has these bits */
  readonly markBits?: number;
  readonly verdict: Verdict;
}

/** The rules of one family, in their order. Without a rule there is no chain either. */
export interface FamilyRules {
  readonly masquerade: readonly Rule[];
  readonly forward: readonly Rule[];
}

export type Part = keyof FamilyRules;

export const PARTS: readonly Part[] = ["masquerade", "forward"];

/** What kube-proxy marks for masquerading, and masquerades itself (its --iptables-masquerade-bit, 14). */
const KUBE_PROXY_MARK = 0x4000;

const MULTICAST: Readonly<Record<Family, Prefix>> = {
  4: { family: 4, address: address("224.0.0.0"), length: 4 },
  6: { family: 6, address: address("ff00::"), length: 8 },
};

export const NO_RULES: FamilyRules = { masquerade: [], forward: [] };

/** Flannel's rules (its pkg/trafficmngr), those of its iptables mode, for each family of the network. Pure. */
export function desiredRules(input: RulesInput): PerFamily<FamilyRules> {
  const rules: PerFamily<FamilyRules> = {};
  for (const family of FAMILIES) {
    const network = input.networks[family];
    const subnet = input.subnets[family];
    if (network === undefined || subnet === undefined) continue;
    rules[family] = {
      masquerade: input.masquerade ? masqueradeRules(network, subnet, input.randomFully) : [],
      forward: input.forward ? forwardRules(network) : [],
    };
  }
  return rules;
}

function masqueradeRules(network: Prefix, subnet: Prefix, randomFully: boolean): Rule[] {
  const verdict: Verdict = randomFully ? "masquerade fully-random" : "masquerade";
  const multicast = MULTICAST[network.family];
  return [
    // kube-proxy masquerades these; twice trips over a bug of some kernels.
    { markBits: KUBE_PROXY_MARK, verdict: "return" },
    // Pods see each other's own addresses.
    { source: { prefix: subnet }, destination: { prefix: network }, verdict: "return" },
    { source: { prefix: network }, destination: { prefix: subnet }, verdict: "return" },
    // What comes in from outside for a pod here was routed to this node and keeps its source.
    { source: { prefix: network, not: true }, destination: { prefix: subnet }, verdict: "return" },
    { source: { prefix: network }, destination: { prefix: multicast, not: true }, verdict },
    // The host's own traffic to the pods of other nodes.
    { source: { prefix: network, not: true }, destination: { prefix: network }, verdict },
  ];
}

function forwardRules(network: Prefix): Rule[] {
  return [
    { source: { prefix: network }, verdict: "accept" },
    { destination: { prefix: network }, verdict: "accept" },
  ];
}

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new TypeError(`${text} is no address`);
  return parsed;
}
