import type { PeerState, Verdict } from "../../api/peers.ts";
import type { HistogramFacts } from "../../base/histogram.ts";
import type { Family, PerFamily } from "../../net/family.ts";
import type { Prefix } from "../../net/prefix.ts";
import type { Facts } from "../facts.ts";
import type { Readiness } from "../readiness.ts";
import type { ProcessFigures } from "./process-figures.ts";

/** What the metrics of one scrape are taken from. */
export interface Scrape {
  readonly facts: Facts;
  readonly readiness: Readiness;
  readonly counts: {
    readonly states: Readonly<Record<PeerState, number>>;
    /** in each family in which there is a device; of those that are probed */
    readonly verdicts: PerFamily<Readonly<Record<Verdict, number>>>;
  };
  /** each of them; none unless their own series are asked for */
  readonly peers: readonly PeerSeen[];
  readonly figures: ProcessFigures;
}

/** Another node as this one sees it, all in all and in each family that its lease has. */
export interface PeerSeen {
  readonly key: string;
  readonly node: string | undefined;
  readonly state: PeerState;
  readonly families: readonly {
    readonly family: Family;
    readonly subnet: Prefix;
    readonly state: PeerState;
    /** which of its entries the kernel has; undefined where that is not known, or none are wanted */
    readonly has: object | undefined;
    readonly verdict: Verdict | undefined;
  }[];
}

/** A value with its labels' values, in the order of the metric's labels. */
export type Sample = readonly [labels: readonly string[], value: number];

interface Common {
  readonly help: string;
  readonly labels: readonly string[];
}

interface ValueSpec extends Common {
  readonly type: "gauge" | "counter";
  collect(scrape: Scrape): Iterable<Sample>;
}

interface HistogramSpec extends Common {
  readonly type: "histogram";
  collect(scrape: Scrape): Iterable<readonly [labels: readonly string[], histogram: HistogramFacts]>;
}

/** One metric: what it says, and how its values follow from what the agent knows. */
export type MetricSpec = ValueSpec | HistogramSpec;

type Value = (scrape: Scrape) => number | undefined;

const alone = (value: Value) => (scrape: Scrape) => {
  const found = value(scrape);
  return found === undefined ? [] : [[[], found] as const];
};

/** A value that goes up and down; there is none while it is undefined. */
export function gauge(help: string, value: Value): MetricSpec {
  return { type: "gauge", help, labels: [], collect: alone(value) };
}

/** A value that only grows over the life of the process. */
export function counter(help: string, value: Value): MetricSpec {
  return { type: "counter", help, labels: [], collect: alone(value) };
}

export function gauges(help: string, labels: readonly string[], collect: ValueSpec["collect"]): MetricSpec {
  return { type: "gauge", help, labels, collect };
}

/** @param counts of a scrape, by the one label's value */
export function countersBy(
  help: string,
  label: string,
  counts: (scrape: Scrape) => Readonly<Partial<Record<string, number>>>,
): MetricSpec {
  const collect = (scrape: Scrape) =>
    Object.entries(counts(scrape)).map(([name, count]): Sample => [[name], count ?? 0]);
  return { type: "counter", help, labels: [label], collect };
}

export function counters(help: string, labels: readonly string[], collect: ValueSpec["collect"]): MetricSpec {
  return { type: "counter", help, labels, collect };
}

export function histograms(help: string, labels: readonly string[], collect: HistogramSpec["collect"]): MetricSpec {
  return { type: "histogram", help, labels, collect };
}

export function histogram(help: string, value: (scrape: Scrape) => HistogramFacts): MetricSpec {
  return { type: "histogram", help, labels: [], collect: (scrape) => [[[], value(scrape)]] };
}

/** Milliseconds since the epoch as Prometheus has times and durations. */
export function seconds(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1000;
}
