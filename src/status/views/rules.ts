import type * as v from "valibot";
import type { Rule, Rules, RulesInFull } from "../../api/rules.ts";
import { formatPrefix } from "../../net/prefix.ts";
import type { AddressMatch, Rule as DesiredRule } from "../../rules/desired.ts";
import type { Facts } from "../facts.ts";
import { byFamilyName, duration, time } from "./values.ts";

export function rulesView({ rules }: Pick<Facts, "rules">): v.InferOutput<typeof Rules> {
  const { lastCheck, lastWrite } = rules;
  return {
    mode: rules.mode,
    backend: rules.backend ?? null,
    version: rules.version ?? null,
    inPlace: byFamilyName(rules.inPlace, (value) => value),
    looks: rules.looks,
    lastLookMs: duration(rules.lastLookMs),
    checks: rules.checks,
    forks: rules.forks,
    writes: rules.writes,
    repaired: { ...rules.repaired },
    lastCheck: lastCheck === undefined ? null : passView(lastCheck),
    lastWrite: lastWrite === undefined ? null : passView(lastWrite),
    errors: [...rules.errors],
    warnings: [...rules.warnings],
  };
}

function passView({ at, durationMs }: { readonly at: number; readonly durationMs: number }) {
  return { at: time(at), durationMs: duration(durationMs) };
}

export function rulesInFullView(facts: Pick<Facts, "rules">): v.InferOutput<typeof RulesInFull> {
  const desired = byFamilyName(facts.rules.desired(), ({ masquerade, forward }) => ({
    masquerade: masquerade.map(ruleView),
    forward: forward.map(ruleView),
  }));
  return { ...rulesView(facts), desired };
}

function ruleView({ source, destination, markBits, verdict }: DesiredRule): v.InferOutput<typeof Rule> {
  const mark = markBits === undefined ? null : `0x${markBits.toString(16)}`;
  return { source: matchView(source), destination: matchView(destination), mark, verdict };
}

function matchView(match: AddressMatch | undefined): string | null {
  return match === undefined ? null : `${match.not === true ? "!" : ""}${formatPrefix(match.prefix)}`;
}
