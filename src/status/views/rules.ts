import type * as v from "valibot";
import type { Rules } from "../../api/rules.ts";
import type { Facts } from "../facts.ts";
import { byFamilyName, time } from "./values.ts";

export function rulesView({ rules }: Pick<Facts, "rules">): v.InferOutput<typeof Rules> {
  const { lastCheck, lastWrite } = rules;
  return {
    mode: rules.mode,
    backend: rules.backend ?? null,
    version: rules.version ?? null,
    inPlace: byFamilyName(rules.inPlace, (value) => value),
    looks: rules.looks,
    lastLookMs: rules.lastLookMs ?? null,
    checks: rules.checks,
    forks: rules.forks,
    writes: rules.writes,
    repaired: { ...rules.repaired },
    lastCheck: lastCheck === undefined ? null : { ...lastCheck, at: time(lastCheck.at) },
    lastWrite: lastWrite === undefined ? null : { ...lastWrite, at: time(lastWrite.at) },
    errors: [...rules.errors],
    warnings: [...rules.warnings],
  };
}
