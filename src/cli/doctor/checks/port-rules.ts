import * as v from "valibot";
import { LINUX_VXLAN_PORT } from "../../../config/network.ts";
import type { Nftables } from "../../../ffi/libnftables.ts";
import type { NftChain } from "../../../ffi/nfnetlink.ts";
import { thisHost } from "../../../rules/host.ts";
import { type Check, type Finding, NotApplicable, orOk, warning } from "../check.ts";

/** Rules of nf_tables, iptables-nft's among them, that drop the encapsulated packets. */

/** By number, as the kernel has them: linux/netfilter.h. What is forwarded is none of this node's own packets. */
const HOOKS: Readonly<Record<number, string>> = { 0: "prerouting", 1: "input", 3: "output", 4: "postrouting" };
const FAMILIES = ["inet", "ip", "ip6"];

const Expression = v.record(v.string(), v.unknown());
const Listing = v.object({ nftables: v.array(v.record(v.string(), v.unknown())) });
const Rule = v.object({ handle: v.number(), expr: v.array(Expression) });
const PortMatch = v.object({
  op: v.picklist(["==", "in"]),
  left: v.object({ payload: v.object({ protocol: v.picklist(["udp", "th"]), field: v.literal("dport") }) }),
  right: v.unknown(),
});

/** A rule that drops packets to the port. */
export interface DroppingRule {
  /** as in `inet filter input` */
  readonly chain: string;
  readonly hook: string;
  readonly handle: number;
}

/** @param listing of one chain, as libnftables writes it in JSON. Pure. @throws Error if it is none */
export function droppingHandles(listing: string, port: number): number[] {
  const { nftables } = v.parse(v.pipe(v.string(), v.parseJson(), Listing), listing);
  const rules = nftables.flatMap(({ rule }) => (rule === undefined ? [] : v.parse(Rule, rule)));
  const dropping: number[] = [];
  for (const { handle, expr } of rules) {
    if (!expr.some((one) => isOfPort(one["match"], port))) continue;
    // Usual is to take what comes from other nodes, and drop the rest.
    if (expr.some((one) => "accept" in one)) return dropping;
    if (expr.some((one) => "drop" in one || "reject" in one)) dropping.push(handle);
  }
  return dropping;
}

function isOfPort(match: unknown, port: number): boolean {
  return v.is(PortMatch, match) && holds(match.right, port);
}

const Ports = v.union([
  v.object({ set: v.array(v.unknown()) }),
  v.object({ range: v.tuple([v.number(), v.number()]) }),
]);

function holds(right: unknown, port: number): boolean {
  if (right === port) return true;
  if (!v.is(Ports, right)) return false;
  if ("set" in right) return right.set.some((one) => holds(one, port));
  return right.range[0] <= port && port <= right.range[1];
}

/** Pure. */
export function judgePortRules(rules: readonly DroppingRule[], port: number): readonly Finding[] {
  return orOk(
    rules.map(({ chain, hook, handle }) =>
      warning(
        `a rule of the chain ${chain} (hook ${hook}) drops packets to UDP port ${port}, by which nodes reach each other's pods`,
        `nft -a list chain ${chain}\nnft delete rule ${chain} handle ${handle}, or before it one that accepts the other nodes`,
      ),
    ),
    `no rule of nf_tables is found that drops packets to UDP port ${port}`,
  );
}

const portRules: Check = {
  group: "Packet filter",
  name: "vxlan-port-rules",
  find: async (context) => {
    const port = (await context.network()).backend.port ?? LINUX_VXLAN_PORT;
    const chains = context.packetFilters().nft().chains.filter(isOnTheWay);
    if (chains.length === 0) return judgePortRules([], port);
    using nftables = open();
    return judgePortRules(
      chains.flatMap((chain) => rulesIn(nftables, chain, port)),
      port,
    );
  },
};

function isOnTheWay({ family, hook }: NftChain): boolean {
  return FAMILIES.includes(family) && hook !== undefined && hook in HOOKS;
}

function open(): Nftables {
  try {
    return thisHost.openNftables();
  } catch (cause) {
    throw new NotApplicable("rules can't be listed without libnftables: apt install libnftables1", { cause });
  }
}

function rulesIn(nftables: Nftables, { family, table, name, hook = 0 }: NftChain, port: number): DroppingRule[] {
  const chain = `${family} ${table} ${name}`;
  let listing: string;
  try {
    listing = nftables.run(`list chain ${chain}`);
  } catch {
    // It went away meanwhile.
    return [];
  }
  return droppingHandles(listing, port).map((handle) => ({ chain, hook: HOOKS[hook] ?? `${hook}`, handle }));
}

export const PORT_RULE_CHECKS = [portRules];
