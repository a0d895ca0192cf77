import Registry from "prom-client/lib/registry.js";
import type { HistogramFacts } from "../../base/histogram.ts";
import type { MetricSpec, Scrape } from "./spec.ts";

export const TEXT = "text/plain";
export const OPEN_METRICS = "application/openmetrics-text";

const CONTENT_TYPES = {
  [TEXT]: Registry.PROMETHEUS_CONTENT_TYPE,
  [OPEN_METRICS]: Registry.OPENMETRICS_CONTENT_TYPE,
} as const;
export type Format = keyof typeof CONTENT_TYPES;

/**
 * The metrics as Prometheus reads them. They are made anew from what the agent knows each time: nothing is kept in
 * prom-client, so no number is there twice, and counters are what the agent has counted since its start.
 */
export async function expose(
  metrics: Readonly<Record<string, MetricSpec>>,
  scrape: Scrape,
  format: Format,
): Promise<{ readonly body: string; readonly contentType: string }> {
  const registry = new Registry(CONTENT_TYPES[format]);
  for (const [name, spec] of Object.entries(metrics)) registry.registerMetric(new Metric(name, spec, scrape));
  return { body: await registry.metrics(), contentType: registry.contentType };
}

/** Else the registry makes an object of its own for each value, and remembers it for a while. */
const SHARED = {};

interface Value {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly sharedLabels: object;
  readonly value: number;
}

/** One metric, as the registry takes it. */
class Metric {
  name: string;
  readonly #spec: MetricSpec;
  readonly #scrape: Scrape;

  constructor(name: string, spec: MetricSpec, scrape: Scrape) {
    this.name = name;
    this.#spec = spec;
    this.#scrape = scrape;
  }

  get type(): MetricSpec["type"] {
    return this.#spec.type;
  }

  async get() {
    const { help, type } = this.#spec;
    return { name: this.name, help, type, values: this.#values() };
  }

  #values(): Value[] {
    const [spec, scrape] = [this.#spec, this.#scrape];
    const values: Value[] = [];
    if (spec.type === "histogram") {
      for (const [labels, counted] of spec.collect(scrape)) {
        for (const value of this.#histogram(labelled(spec.labels, labels), counted)) values.push(value);
      }
      return values;
    }
    for (const [labels, value] of spec.collect(scrape))
      values.push({ labels: labelled(spec.labels, labels), sharedLabels: SHARED, value });
    return values;
  }

  /** The agent has counted each bucket by itself; here each has those below it, too. */
  *#histogram(labels: Readonly<Record<string, string>>, { bounds, counts, sum }: HistogramFacts): Generator<Value> {
    let total = 0;
    for (const [at, count] of counts.entries()) {
      total += count;
      const le = bounds[at] ?? "+Inf";
      yield { metricName: `${this.name}_bucket`, labels: { ...labels, le }, sharedLabels: SHARED, value: total };
    }
    yield { metricName: `${this.name}_sum`, labels, sharedLabels: SHARED, value: sum };
    yield { metricName: `${this.name}_count`, labels, sharedLabels: SHARED, value: total };
  }
}

function labelled(names: readonly string[], values: readonly string[]): Readonly<Record<string, string>> {
  const labels: Record<string, string> = {};
  for (const [at, name] of names.entries()) labels[name] = values[at] ?? "";
  return labels;
}
