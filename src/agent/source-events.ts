import { describeError } from "../base/errors.ts";
import type { LeaseSource } from "../lease/source.ts";
import type { EventLog } from "../status/event-log.ts";

/** Records when the lease source can't be used any more, and when it can be again. */
export function recordContact(source: LeaseSource, events: EventLog): void {
  const started = Date.now();
  let lostAt = performance.now();
  source.onContact((error) => {
    const where = `${source.kind} ${source.location}`;
    if (error !== undefined) {
      lostAt = performance.now();
      const { lastContactAt = started } = source.contact;
      const durationMs = Math.max(0, Date.now() - lastContactAt);
      events.add({ kind: "sourceLost", level: "warning", message: where, cause: describeError(error), durationMs });
      return;
    }
    events.add({ kind: "sourceBack", message: where, cause: "it answers", durationMs: performance.now() - lostAt });
  });
}
