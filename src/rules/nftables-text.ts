import * as v from "valibot";
import { parseAddress } from "../net/address.ts";
import type { Family } from "../net/family.ts";
import { ADDRESS_BITS } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { AddressMatch, Part, Rule } from "./desired.ts";

/** Flannel's tables in nftables. Everything in them is ours. */
export const TABLES: Readonly<Record<Family, { readonly family: "ip" | "ip6"; readonly name: string }>> = {
  4: { family: "ip", name: "flannel-ipv4" },
  6: { family: "ip6", name: "flannel-ipv6" },
};

export interface BaseChain {
  readonly name: string;
  readonly type: "nat" | "filter";
  readonly hook: "postrouting" | "forward";
  /** srcnat and filter */
  readonly priority: number;
  readonly comment: string;
}

export const CHAINS: Readonly<Record<Part, BaseChain>> = {
  masquerade: {
    name: "postrtg",
    type: "nat",
    hook: "postrouting",
    priority: 100,
    comment: "chain to manage traffic masquerading by flannel",
  },
  forward: {
    name: "forward",
    type: "filter",
    hook: "forward",
    priority: 0,
    comment: "chain to accept flannel traffic",
  },
};

/** A rule as nft reads it. */
export function ruleText(rule: Rule, family: Family): string {
  const { family: protocol } = TABLES[family];
  const address = (field: string, match: AddressMatch | undefined) =>
    match === undefined ? [] : [`${protocol} ${field} ${match.not ? "!= " : ""}${formatPrefix(match.prefix)}`];
  const mark = rule.markBits === undefined ? [] : [`meta mark & ${hex(rule.markBits)} == ${hex(rule.markBits)}`];
  return [...mark, ...address("saddr", rule.source), ...address("daddr", rule.destination), rule.verdict].join(" ");
}

/** What a chain is, in one text, to compare. */
export function chainText({ type, hook, priority }: BaseChain): string {
  return `type ${type} hook ${hook} priority ${priority} policy accept`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** What is in one of our tables. */
export interface NftablesActual {
  /** such as `dormant`, which turns the table off */
  readonly flags: boolean;
  readonly chains: ReadonlyMap<string, { readonly properties: string; readonly rules: readonly string[] }>;
  /** sets, counters and the like, of which we have none: what nft calls each, such as `set` and `ct helper`, and its name */
  readonly objects: readonly { readonly kind: string; readonly name: string }[];
}

const Listing = v.object({ nftables: v.array(v.record(v.string(), v.unknown())) });
const Table = v.object({ flags: v.optional(v.unknown()) });
const Chain = v.object({
  name: v.string(),
  type: v.optional(v.string()),
  hook: v.optional(v.string()),
  prio: v.optional(v.union([v.number(), v.string()])),
  policy: v.optional(v.string()),
});
const Named = v.object({ name: v.string() });
const RuleEntry = v.object({ chain: v.string(), comment: v.optional(v.string()), expr: v.array(v.unknown()) });

/**
 * Reads the JSON of `list table` (libnftables-json(5)). Rules become texts: as ruleText writes them where they are of that
 * kind, else their JSON.
 * @throws Error if it is something else
 */
export function parseTable(json: string): NftablesActual {
  const result = v.safeParse(Listing, JSON.parse(json));
  if (!result.success) throw new Error("libnftables printed something else than a list of objects");
  const chains = new Map<string, { properties: string; rules: string[] }>();
  const objects: NftablesActual["objects"][number][] = [];
  let flags = false;
  for (const entry of result.output.nftables) {
    const { metainfo: _metainfo, table, chain, rule, ...others } = entry;
    for (const [kind, object] of Object.entries(others)) {
      if (v.is(Named, object)) objects.push({ kind, name: object.name });
    }
    if (table !== undefined) flags = v.parse(Table, table).flags !== undefined;
    if (chain !== undefined) {
      const { name, type, hook, prio, policy } = v.parse(Chain, chain);
      const properties = `type ${type} hook ${hook} priority ${prio} policy ${policy}`;
      chains.set(name, { properties, rules: [] });
    }
    if (rule !== undefined) {
      const { chain: name, comment, expr } = v.parse(RuleEntry, rule);
      const text = expr.map(expressionText).join(" ");
      chains.get(name)?.rules.push(comment === undefined ? text : `${text} comment ${JSON.stringify(comment)}`);
    }
  }
  return { flags, chains, objects };
}

const Payload = v.object({ protocol: v.picklist(["ip", "ip6"]), field: v.picklist(["saddr", "daddr"]) });
const AddressExpression = v.strictObject({
  match: v.strictObject({
    op: v.picklist(["==", "!="]),
    left: v.strictObject({ payload: Payload }),
    right: v.union([v.string(), v.strictObject({ prefix: v.strictObject({ addr: v.string(), len: v.number() }) })]),
  }),
});
const MarkExpression = v.strictObject({
  match: v.strictObject({
    op: v.literal("=="),
    left: v.strictObject({
      "&": v.strictTuple([v.strictObject({ meta: v.strictObject({ key: v.literal("mark") }) }), v.number()]),
    }),
    right: v.number(),
  }),
});
const VerdictExpression = v.union([v.strictObject({ accept: v.null() }), v.strictObject({ return: v.null() })]);
const FULLY_RANDOM = "fully-random";
const MasqueradeExpression = v.strictObject({
  masquerade: v.nullish(
    v.strictObject({ flags: v.union([v.literal(FULLY_RANDOM), v.strictTuple([v.literal(FULLY_RANDOM)])]) }),
  ),
});

function expressionText(expression: unknown): string {
  if (v.is(AddressExpression, expression)) {
    const { op, left, right } = expression.match;
    const { protocol, field } = left.payload;
    return `${protocol} ${field} ${op === "!=" ? "!= " : ""}${prefixText(right)}`;
  }
  if (v.is(MarkExpression, expression)) {
    const { left, right } = expression.match;
    return `meta mark & ${hex(left["&"][1])} == ${hex(right)}`;
  }
  if (v.is(VerdictExpression, expression)) return Object.keys(expression)[0] ?? "";
  if (v.is(MasqueradeExpression, expression)) return expression.masquerade ? "masquerade fully-random" : "masquerade";
  return JSON.stringify(expression);
}

/** A single address is a network, too. */
function prefixText(right: string | { prefix: { addr: string; len: number } }): string {
  if (typeof right !== "string") return `${parseAddress(right.prefix.addr) ?? right.prefix.addr}/${right.prefix.len}`;
  const address = parseAddress(right);
  return address === undefined ? right : `${address}/${ADDRESS_BITS[address.includes(":") ? 6 : 4]}`;
}
