import { describeError } from "../base/errors.ts";
import type { LeaseSource } from "../lease/source.ts";
import type { EventLog } from "../status/event-log.ts";

/** Records when the lease source can't be used any more, and when it can be again. */
export function recordContact(source: LeaseSource, events: EventLog): void {
  let lostAt = performance.now();
  source.onContact((error) => {
    const where = `${source.kind} ${source.location}`;
    if (error !== undefined) {
      lostAt = performance.now();
      events.add({ kind: "sourceLost", level: "warning", message: where, cause: describeError(error) });
      return;
    }
    events.add({ kind: "sourceBack", message: where, durationMs: performance.now() - lostAt });
  });
}
