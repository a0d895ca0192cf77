import { formatCount } from "../base/count.ts";
import type { EventLog } from "../status/event-log.ts";

/** Of more changes at once only the number is told. */
const MOST = 3;

/** What the kernel has told of changes by others since the last reconcile. */
export class DriftNotice {
  readonly #events: EventLog;
  /** by the monotonic clock, of the first one */
  #since: number | undefined;
  readonly #changes = new Set<string>();
  #told = false;

  constructor(events: EventLog) {
    this.#events = events;
  }

  /** Milliseconds since the first one. */
  get age(): number | undefined {
    return this.#since === undefined ? undefined : performance.now() - this.#since;
  }

  /** whether there is an event of them */
  get told(): boolean {
    return this.#told;
  }

  /** @param isCertain false where it may turn out to be nothing */
  add(change: string, isCertain: boolean): void {
    this.#since ??= performance.now();
    if (isCertain) this.#changes.add(change);
  }

  /** Records those that are certain. */
  tell(): void {
    if (this.#changes.size === 0) return;
    const more = this.#changes.size - MOST;
    const first = [...this.#changes].slice(0, MOST).join(", ");
    const message = more > 0 ? `${first} and ${formatCount(more)} more` : first;
    // So long it has been there, as far as we know.
    const durationMs = this.age ?? 0;
    this.#events.add({
      kind: "driftFound",
      level: "warning",
      message,
      cause: "the kernel's notifications",
      durationMs,
    });
    this.#told = true;
  }

  clear(): void {
    this.#since = undefined;
    this.#changes.clear();
    this.#told = false;
  }
}
