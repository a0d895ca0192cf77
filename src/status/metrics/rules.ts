import { familiesOf } from "../../net/family.ts";
import type { Deviation } from "../../rules/compare.ts";
import { counter, countersBy, gauge, gauges, type Sample, seconds } from "./spec.ts";

const NONE: Readonly<Record<Deviation, 0>> = {
  "chain missing": 0,
  "chain altered": 0,
  "chain foreign": 0,
  "object foreign": 0,
  "rule missing": 0,
  "rule altered": 0,
  "rule duplicated": 0,
  "rule foreign": 0,
  "rules reordered": 0,
  "jump missing": 0,
  "jump doubled": 0,
  "jump altered": 0,
};

/** The masquerade and forward rules. */
export const RULES_METRICS = {
  tartan_rules_info: gauges(
    "Always 1; the labels say where the rules are kept.",
    ["mode", "backend", "version"],
    ({ facts: { rules } }) => [[[rules.mode, rules.backend ?? "", rules.version ?? ""], 1]],
  ),
  tartan_rules_in_place: gauges("1 while the rules of this family are as wanted.", ["family"], ({ facts }) =>
    familiesOf(facts.rules.inPlace).map(
      (family): Sample => [[`ipv${family}`], Number(facts.rules.inPlace[family] ?? false)],
    ),
  ),
  tartan_rules_errors: gauge(
    "Reasons why the rules are not in place, or don't act as they should.",
    ({ facts }) => facts.rules.errors.length,
  ),
  tartan_rules_looks_total: counter(
    "How often the packet filter was asked whether anything changed, which costs no process.",
    ({ facts }) => facts.rules.looks,
  ),
  tartan_rules_checks_total: counter("How often the rules themselves were read.", ({ facts }) => facts.rules.checks),
  tartan_rules_writes_total: counter("How often rules were written.", ({ facts }) => facts.rules.writes),
  tartan_rules_forks_total: counter(
    "Processes that were started to read and write the rules.",
    ({ facts }) => facts.rules.forks,
  ),
  tartan_rules_repaired_total: countersBy(
    "What somebody else had changed in the rules and was mended.",
    "kind",
    ({ facts }) => ({ ...NONE, ...facts.rules.repaired }),
  ),
  tartan_rules_last_look_duration_seconds: gauge("How long the last look took.", ({ facts }) =>
    seconds(facts.rules.lastLookMs),
  ),
  tartan_rules_last_check_duration_seconds: gauge("How long the last check took, with what it mended.", ({ facts }) =>
    seconds(facts.rules.lastCheck?.durationMs),
  ),
  tartan_rules_last_check_timestamp_seconds: gauge("When the rules were last read.", ({ facts }) =>
    seconds(facts.rules.lastCheck?.at),
  ),
};
