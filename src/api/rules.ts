import * as v from "valibot";
import { Count, CountsByKind, Duration, perFamily, Time } from "./values.ts";

const Pass = v.nullable(v.object({ at: Time, durationMs: Duration }));

/** `/debug/rules`: the masquerade and forward rules. */
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
