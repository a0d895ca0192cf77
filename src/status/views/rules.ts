import type * as v from "valibot";
import type { Rules } from "../../api/rules.ts";
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
