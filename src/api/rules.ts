import * as v from "valibot";
import { Count, CountsByKind, Duration, perFamily, Time } from "./values.ts";

const Pass = v.nullable(v.object({ at: Time, durationMs: Duration }));

const Match = v.pipe(
  v.nullable(v.string()),
  v.description("address/length; with ! before it: all but that; null: any"),
);

/** One rule, whatever it is written by. */
export const Rule = v.object({
  source: Match,
  destination: Match,
  mark: v.pipe(v.nullable(v.string()), v.description("the bits that the packet's mark has, as 0x4000")),
  verdict: v.picklist(["accept", "return", "masquerade", "masquerade fully-random"]),
});

/** The masquerade and forward rules in short, as in `/debug/state`. */
export const Rules = v.object({
  mode: v.picklist(["iptables", "nftables"]),
  backend: v.pipe(v.nullable(v.string()), v.description("iptables-nft, iptables-legacy or nftables")),
  version: v.nullable(v.string()),
  inPlace: perFamily(v.boolean()),
  looks: v.pipe(Count, v.description("how often it was asked whether anything changed")),
  lastLookMs: v.nullable(Duration),
  checks: v.pipe(Count, v.description("how often the rules themselves were read")),
  forks: v.pipe(Count, v.description("processes started for them")),
  writes: Count,
  repaired: CountsByKind,
  lastCheck: Pass,
  lastWrite: Pass,
  errors: v.array(v.string()),
  warnings: v.array(v.string()),
});

/** `/debug/rules`: what there should be, in the order of the rules, as well; `inPlace` says whether it is there. */
export const RulesInFull = v.object({
  ...Rules.entries,
  desired: perFamily(v.object({ masquerade: v.array(Rule), forward: v.array(Rule) })),
});
