import { logger } from "../base/log.ts";
import type { Desired } from "../desired/desired.ts";
import { KernelError } from "../ffi/errors.ts";
import { type FailedOperation, labelOf } from "../kernel/apply.ts";
import { describe, type ReconcileReport } from "../kernel/reconciler.ts";
import type { EventLog } from "../status/event-log.ts";
import type { ApplyFacts, FailureFacts, KernelFacts, KernelTotals } from "../status/facts.ts";
import { DriftNotice } from "./drift-notice.ts";

const log = logger("kernel");

/** Of more failures at once only the number is told. */
const MOST_FAILURES = 5;
/** Of more causes the first are told. */
const MOST_CAUSES = 3;

/** Remembers what the reconciles did, for the state, the events and the log. */
export class ReconcileRecord {
  readonly #events: EventLog;
  readonly #notice: DriftNotice;
  #settledFor: Desired | undefined;
  #settled = false;
  #pruning = false;
  #driftsFound = 0;
  #lastApply: ApplyFacts | undefined;
  #failures: readonly FailureFacts[] = [];
  readonly #repaired: Record<string, number> = {};

  constructor(events: EventLog) {
    this.#events = events;
    this.#notice = new DriftNotice(events);
  }

  facts(): Omit<KernelFacts, "fullReads" | keyof KernelTotals> {
    return {
      settled: this.#settled,
      pruning: this.#pruning,
      driftsFound: this.#driftsFound,
      repaired: { ...this.#repaired },
      failures: this.#failures,
      ...(this.#lastApply === undefined ? {} : { lastApply: this.#lastApply }),
    };
  }

  /** Somebody seems to have changed what is ours. */
  noticed(cause: string, isCertain: boolean): void {
    this.#notice.add(cause, isCertain);
  }

  /** A reconcile is about to begin, which `add` will tell of. */
  begin(): void {
    this.#notice.tell();
  }

  add(causes: readonly string[], desired: Desired, pruning: boolean, report: ReconcileReport): void {
    const failures = report.failed.map(failureFacts);
    const known = new Set(this.#failures.map(({ message }) => message));
    // What was undone though we wanted the same as before was drift; what had been kept for a while is pruned at last.
    const drift = this.#settledFor === desired && this.#pruning === pruning && report.done.size > 0;
    this.#pruning = pruning;
    if (drift) {
      this.#driftsFound++;
      for (const [kind, count] of report.done) this.#repaired[kind] = (this.#repaired[kind] ?? 0) + count;
    }
    if (report.settled) this.#settledFor = desired;
    this.#settled = report.settled;
    this.#failures = failures;
    const cause = causes.join(", ");
    if (report.done.size > 0 || failures.length > 0) {
      const done = Object.fromEntries(report.done);
      this.#lastApply = { at: Date.now(), durationMs: report.durationMs, cause, done, failures };
    }
    const inShort = causes.length > MOST_CAUSES ? `${causes.slice(0, MOST_CAUSES).join(", ")} and more` : cause;
    if (report.done.size > 0) this.#tellDone(report, inShort, drift);
    this.#notice.clear();
    this.#tellFailures(
      failures.filter(({ message }) => !known.has(message)),
      inShort,
      report.durationMs,
    );
  }

  #tellDone(report: ReconcileReport, cause: string, drift: boolean): void {
    const done = [...report.done].map(([kind, count]) => `${count} ${kind}`).join(", ");
    const ms = report.durationMs.toFixed(1);
    log.info("{what} in {ms} ms: {done} ({cause})", { what: drift ? "mended" : "programmed", ms, done, cause });
    if (!drift) {
      this.#events.add({ kind: "programmed", message: done, cause, durationMs: report.durationMs });
      return;
    }
    const what = report.first.map(describe).join("; ");
    // From the notification on, if there was one.
    const durationMs = Math.max(this.#notice.age ?? 0, report.durationMs);
    if (!this.#notice.told)
      this.#events.add({ kind: "driftFound", level: "warning", message: what, cause, durationMs });
    this.#events.add({ kind: "repaired", message: `${done}: ${what}`, cause, durationMs });
  }

  #tellFailures(news: readonly FailureFacts[], cause: string, durationMs: number): void {
    if (news.length === 0) return;
    const others = news.length > 1 ? `, and ${news.length - 1} more like it` : "";
    log.error("the kernel refused: {message}{others}; it is tried again", { message: news[0]?.message, others });
    const failed = { kind: "applyFailed", level: "error", cause, durationMs } as const;
    for (const { message } of news.slice(0, MOST_FAILURES)) this.#events.add({ ...failed, message });
    const more = news.length - MOST_FAILURES;
    if (more > 0) this.#events.add({ ...failed, message: `${more} more operations failed` });
  }
}

function failureFacts({ operation, error }: FailedOperation): FailureFacts {
  const label = labelOf(operation);
  return { ...label, error: error instanceof KernelError ? error.errnoName : error.name, message: error.message };
}
