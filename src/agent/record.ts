import { logger } from "../base/log.ts";
import type { Desired } from "../desired/desired.ts";
import { KernelError } from "../ffi/errors.ts";
import { type FailedOperation, labelOf } from "../kernel/apply.ts";
import type { ReconcileReport } from "../kernel/reconciler.ts";
import type { ApplyFacts, FailureFacts, KernelFacts } from "../status/facts.ts";

const log = logger("kernel");

/** Remembers what the reconciles did, for the state and the log. */
export class ReconcileRecord {
  #settledFor: Desired | undefined;
  #settled = false;
  #pruning = false;
  #driftsFound = 0;
  #lastApply: ApplyFacts | undefined;
  #failures: readonly FailureFacts[] = [];
  readonly #repaired: Record<string, number> = {};

  facts(): Omit<KernelFacts, "fullReads"> {
    return {
      settled: this.#settled,
      pruning: this.#pruning,
      driftsFound: this.#driftsFound,
      repaired: { ...this.#repaired },
      failures: this.#failures,
      ...(this.#lastApply === undefined ? {} : { lastApply: this.#lastApply }),
    };
  }

  add(causes: readonly string[], desired: Desired, pruning: boolean, report: ReconcileReport): void {
    const done = Object.fromEntries(report.done);
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
      this.#lastApply = { at: Date.now(), durationMs: report.durationMs, cause, done, failures };
    }
    if (report.done.size > 0) {
      log.info("{what} in {ms} ms: {done} ({cause})", {
        what: drift ? "mended" : "programmed",
        ms: report.durationMs.toFixed(1),
        done: [...report.done].map(([kind, count]) => `${count} ${kind}`).join(", "),
        cause,
      });
    }
    const news = failures.filter(({ message }) => !known.has(message));
    if (news.length > 0) {
      const others = news.length > 1 ? `, and ${news.length - 1} more like it` : "";
      log.error("the kernel refused: {message}{others}; it is tried again", { message: news[0]?.message, others });
    }
  }
}

function failureFacts({ operation, error }: FailedOperation): FailureFacts {
  const label = labelOf(operation);
  return { ...label, error: error instanceof KernelError ? error.errnoName : error.name, message: error.message };
}
