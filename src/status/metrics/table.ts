import { AGENT_METRICS } from "./agent.ts";
import { KERNEL_METRICS } from "./kernel.ts";
import { LEASE_METRICS } from "./leases.ts";
import { PEER_METRICS } from "./peers.ts";
import { PROCESS_METRICS } from "./process.ts";
import { RULES_METRICS } from "./rules.ts";
import type { MetricSpec } from "./spec.ts";

/** Every metric by its name, in the order in which they are given. Their number does not grow with that of the nodes. */
export const METRICS = {
  ...AGENT_METRICS,
  ...LEASE_METRICS,
  ...PEER_METRICS,
  ...KERNEL_METRICS,
  ...RULES_METRICS,
  ...PROCESS_METRICS,
} satisfies Readonly<Record<string, MetricSpec>>;
