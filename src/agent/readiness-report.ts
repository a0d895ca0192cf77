import { logger } from "../base/log.ts";
import type { EventLog } from "../status/event-log.ts";
import type { Facts, Finding } from "../status/facts.ts";
import { readiness } from "../status/readiness.ts";

const log = logger("agent");

/** Tells of problems when they appear, and of readiness when it comes and goes. */
export class ReadinessReport {
  readonly #events: EventLog;
  readonly #onReady: () => void;
  /** by the monotonic clock: when readiness last came or went */
  #since = performance.now();
  #ready = false;
  #problems: readonly Finding[] = [{ condition: "config", message: "starting" }];

  /** @param onReady called each time that the node becomes ready */
  constructor(events: EventLog, onReady: () => void) {
    this.#events = events;
    this.#onReady = onReady;
  }

  /** those of the last turn */
  get problems(): readonly Finding[] {
    return this.#problems;
  }

  /** @param problems of the turn that has ended; @param facts called once they are the last turn's */
  turned(problems: readonly Finding[], facts: () => Facts): void {
    const had = new Set(this.#problems.map(({ message }) => message));
    const news = problems.filter(({ message }) => !had.has(message));
    for (const { condition, message } of news) log.warn("{condition}: {message}", { condition, message });
    this.#problems = problems;
    const { ready, reasons } = readiness(facts());
    if (ready !== this.#ready) this.#changed(ready, reasons);
    else if (news.length > 0) this.#notReady(news, performance.now() - this.#since);
  }

  #changed(ready: boolean, reasons: readonly Finding[]): void {
    this.#ready = ready;
    const durationMs = performance.now() - this.#since;
    this.#since = performance.now();
    if (ready) {
      log.info("ready");
      const message = "the pods of this node have their network";
      this.#events.add({ kind: "ready", message, cause: "all that it needs is in place", durationMs });
      this.#onReady();
      return;
    }
    log.warn("not ready any more: {reasons}", { reasons: reasons.map(({ message }) => message).join("; ") });
    this.#notReady(reasons, durationMs);
  }

  #notReady(reasons: readonly Finding[], durationMs: number): void {
    const message = reasons.map((reason) => `${reason.condition}: ${reason.message}`).join("; ");
    this.#events.add({ kind: "notReady", level: "warning", message, durationMs });
  }
}
