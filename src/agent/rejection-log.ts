import { logger } from "../base/log.ts";
import { outcomeOf, type Snapshot } from "../lease/lease.ts";
import type { EventLog } from "../status/event-log.ts";

const log = logger("lease");

/** At once; of more than these only the number is told, and `/debug/state` has them all. */
const MOST = 10;

/** Tells the log, and the events, of records that make no sense, or lose to others: each once for each reason, and counts them. */
export class RejectionLog {
  readonly #events: EventLog;
  #told: ReadonlyMap<string, string> = new Map();
  #count = 0;

  constructor(events: EventLog) {
    this.#events = events;
  }

  /** records that were rejected since the start, one again when its reason changed */
  get count(): number {
    return this.#count;
  }

  look({ leases, rejected }: Snapshot): void {
    if (rejected.length === 0 && this.#told.size === 0) return;
    const news = rejected.filter(({ key, reason }) => this.#told.get(key) !== reason);
    const gone = [...this.#told.keys()].filter((key) => !rejected.some((one) => one.key === key));
    this.#told = new Map(rejected.map(({ key, reason }) => [key, reason]));
    this.#count += news.length;
    for (const { key, node, reason } of news.slice(0, MOST)) {
      const outcome = outcomeOf(leases.some((lease) => lease.key === key));
      log.warn("lease {key}{of} {outcome}: {reason}", { key, of: node ? ` of ${node}` : "", outcome, reason });
      const message = `lease ${key} ${outcome}`;
      this.#events.add({ kind: "leaseRejected", level: "warning", node: node ?? key, message, cause: reason });
    }
    if (news.length > MOST) {
      const message = `${news.length - MOST} more leases are not right: see /debug/leases`;
      log.warn("{message}", { message });
      this.#events.add({ kind: "leaseRejected", level: "warning", message });
    }
    for (const key of gone.slice(0, MOST)) log.info("lease {key} is right again, or gone", { key });
  }
}
