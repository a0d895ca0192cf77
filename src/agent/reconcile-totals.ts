import { Histogram } from "../base/histogram.ts";
import type { Operation } from "../kernel/operations.ts";
import type { ReconcileReport } from "../kernel/reconciler.ts";
import type { Snapshot } from "../lease/lease.ts";
import type { KernelTotals } from "../status/facts.ts";

/** One peer takes a millisecond or so, 5,000 some tenths of a second. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

type Counts = Partial<Record<Operation["kind"], number>>;

/** Counts what the reconciles did and how long they took, for the metrics. */
export class ReconcileTotals {
  readonly #operations: Counts = {};
  readonly #refused: Counts = {};
  readonly #applySeconds = new Histogram(SECONDS);
  readonly #followSeconds = new Histogram(SECONDS);
  #followed: Snapshot | undefined;

  facts(): KernelTotals {
    return {
      operations: { ...this.#operations },
      refused: { ...this.#refused },
      applySeconds: this.#applySeconds.facts(),
      followSeconds: this.#followSeconds.facts(),
    };
  }

  /** @param snapshot of the leases that the desired state follows from */
  add(snapshot: Snapshot, { done, failed, settled, durationMs }: ReconcileReport): void {
    for (const [kind, count] of done) this.#operations[kind] = (this.#operations[kind] ?? 0) + count;
    for (const { operation } of failed) this.#refused[operation.kind] = (this.#refused[operation.kind] ?? 0) + 1;
    if (done.size > 0 || failed.length > 0) this.#applySeconds.observe(durationMs / 1000);
    if (!settled || snapshot === this.#followed) return;
    this.#followed = snapshot;
    this.#followSeconds.observe(Math.max(0, Date.now() - snapshot.takenAt) / 1000);
  }
}
