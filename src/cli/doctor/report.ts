import * as v from "valibot";
import { GROUPS, type Status } from "./check.ts";
import type { Result } from "./runner.ts";

const Count = v.pipe(v.number(), v.integer(), v.minValue(0));

/** `tartan doctor -o json`. */
export const Report = v.object({
  /** of this executable */
  version: v.string(),
  configuration: v.object({
    /** where the agent's flags come from */
    from: v.string(),
    /** `etcd`, `kubernetes`, `embedded`; null where nothing says which */
    leaseSource: v.nullable(v.picklist(["etcd", "kubernetes", "embedded"])),
  }),
  /** as of the findings: `skipped` counts for nothing */
  worst: v.picklist(["ok", "warning", "error"]),
  counts: v.object({ ok: Count, warning: Count, error: Count, skipped: Count }),
  findings: v.array(
    v.object({
      group: v.picklist(GROUPS),
      check: v.string(),
      status: v.picklist(["ok", "warning", "error", "skipped"]),
      message: v.string(),
      fix: v.optional(v.string()),
      durationMs: Count,
    }),
  ),
});
export type Report = v.InferOutput<typeof Report>;

const WORST_FIRST = ["error", "warning", "ok"] as const;

/** 2 is that of wrong options. */
const EXIT_CODES: Readonly<Record<Report["worst"], number>> = { ok: 0, warning: 1, error: 3 };

export function makeReport(
  about: Pick<Report, "version" | "configuration">,
  results: readonly Result[],
): { report: Report; exitCode: number } {
  const count = (status: Status) => results.filter((result) => result.status === status).length;
  const counts = { ok: count("ok"), warning: count("warning"), error: count("error"), skipped: count("skipped") };
  const worst = WORST_FIRST.find((status) => counts[status] > 0) ?? "ok";
  return { report: { ...about, worst, counts, findings: [...results] }, exitCode: EXIT_CODES[worst] };
}
