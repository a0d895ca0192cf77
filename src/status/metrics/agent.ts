import { EventKind } from "../../api/events.ts";
import { CONDITIONS } from "../facts.ts";
import { stall } from "../readiness.ts";
import { counter, countersBy, gauge, gauges, seconds } from "./spec.ts";

/** The agent itself: version, health, the reconcile loop. */
export const AGENT_METRICS = {
  tartan_build_info: gauges("Always 1; the version is in the labels.", ["version", "bun"], ({ facts }) => [
    [[facts.version, Bun.version], 1],
  ]),
  tartan_ready: gauge("1 while the node's pods have their network, as /readyz says.", ({ readiness }) =>
    Number(readiness.ready),
  ),
  tartan_live: gauge("1 while the reconcile loop turns, as /healthz says.", ({ facts }) =>
    Number(stall(facts) === undefined),
  ),
  tartan_condition: gauges(
    "1 while this part is right, 0 while it keeps the node from being ready.",
    ["condition"],
    ({ readiness }) =>
      CONDITIONS.map((name) => [[name], Number(!readiness.reasons.some(({ condition }) => condition === name))]),
  ),
  tartan_warnings: gauges(
    "Things that are wrong with this part without keeping the node from being ready.",
    ["condition"],
    ({ readiness }) =>
      CONDITIONS.map((name) => [[name], readiness.warnings.filter(({ condition }) => condition === name).length]),
  ),
  tartan_loop_turns_total: counter("Turns of the reconcile loop.", ({ facts }) => facts.loop.turns),
  tartan_loop_failures_in_a_row: gauge(
    "Turns of the loop since the last one that could do all it had to.",
    ({ facts }) => facts.loop.failuresInARow,
  ),
  tartan_loop_last_turn_timestamp_seconds: gauge("When the loop's last turn ended.", ({ facts }) =>
    seconds(facts.loop.lastTurnAt),
  ),
  tartan_loop_busy_seconds: gauge("How long the turn that is under way has taken; 0 between turns.", ({ facts }) =>
    facts.loop.busySince === undefined ? 0 : Math.max(0, facts.now - facts.loop.busySince) / 1000,
  ),
  tartan_events_total: countersBy("Things that happened, as in /debug/events.", "kind", ({ facts }) => ({
    ...Object.fromEntries(EventKind.options.map((kind) => [kind, 0])),
    ...facts.events.totals,
  })),
};
