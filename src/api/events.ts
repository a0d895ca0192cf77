import * as v from "valibot";
import { Count, Duration, page, Time } from "./values.ts";

/** `/debug/events`: the last things that happened. The kind of which there are the most gives way first. */

export const EventKind = v.picklist([
  // this agent
  "started",
  "stopping",
  "ready",
  "notReady",
  "interfaceChanged",
  "logLevelChanged",
  "resyncAsked",
  // leases; more than a few at once are one event
  "ownLease",
  "leaseAdded",
  "leaseChanged",
  "leaseRemoved",
  "leaseRejected",
  "leasesChanged",
  "sourceLost",
  "sourceBack",
  // the kernel
  "programmed",
  "driftFound",
  "repaired",
  "applyFailed",
  // the packet filter
  "rulesWritten",
  "rulesRepaired",
  "rulesFailed",
  // probes; more than a few at once are one event
  "peerDown",
  "peerDegraded",
  "peerUp",
  "peersChanged",
]);
export type EventKind = v.InferOutput<typeof EventKind>;

export const Event = v.object({
  id: v.pipe(Count, v.description("grows, also from one start of the agent to the next")),
  at: Time,
  kind: EventKind,
  level: v.picklist(["info", "warning", "error"]),
  message: v.string(),
  node: v.pipe(v.nullable(v.string()), v.description("the node or the lease that it is about")),
  cause: v.pipe(v.nullable(v.string()), v.description("why, or by what it became known")),
  durationMs: v.pipe(
    v.nullable(Duration),
    v.description(
      "milliseconds that it took; of a repair or a lease from when it was noticed, of what comes back or is lost how long it had been otherwise",
    ),
  ),
  times: v.pipe(
    Count,
    v.description("1, and one more each time that the same came again, once it had come thrice within ten seconds"),
  ),
});
export type Event = v.InferOutput<typeof Event>;

/** The oldest first. As a live stream (text/event-stream) each is one message whose id, event and data are the event's. */
export const EventList = v.object({
  ...page(Event),
  oldest: v.pipe(v.nullable(Count), v.description("id of the oldest that is still kept")),
});
