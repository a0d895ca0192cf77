import { Counter, Gauge, Histogram, Registry, type RegistryContentType } from "prom-client";
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
  const registry = new Registry<RegistryContentType>();
  registry.setContentType(CONTENT_TYPES[format]);
  for (const [name, spec] of Object.entries(metrics)) {
    const config = { name, help: spec.help, labelNames: spec.labels, registers: [registry] };
    if (spec.type === "histogram") {
      new CountedHistogram(
        config,
        [...spec.collect(scrape)].map(([values, counted]) => [labelled(spec.labels, values), counted]),
      );
      continue;
    }
    const metric = spec.type === "counter" ? new Counter(config) : new Gauge(config);
    // One without labels is 0 from the beginning, though there may be no value now.
    if (spec.labels.length === 0) metric.remove();
    for (const [values, value] of spec.collect(scrape)) metric.inc(labelled(spec.labels, values), value);
  }
  return { body: await registry.metrics(), contentType: registry.contentType };
}

type Labels = Readonly<Record<string, string>>;

function labelled(names: readonly string[], values: readonly string[]): Labels {
  return Object.fromEntries(names.map((name, at) => [name, values[at] ?? ""]));
}

/** A histogram whose values somebody else has counted. */
class CountedHistogram extends Histogram {
  readonly #name: string;
  readonly #help: string;
  readonly #counted: readonly (readonly [Labels, HistogramFacts])[];

  constructor(
    config: ConstructorParameters<typeof Histogram>[0],
    counted: readonly (readonly [Labels, HistogramFacts])[],
  ) {
    super(config);
    this.#name = config.name;
    this.#help = config.help;
    this.#counted = counted;
  }

  /** What the registry asks for where there is one. */
  async getForPromString() {
    const values = this.#counted.flatMap(([labels, { bounds, counts, sum }]) => {
      let total = 0;
      const buckets = counts.map((count, at) => {
        total += count;
        return { metricName: `${this.#name}_bucket`, labels: { ...labels, le: bounds[at] ?? "+Inf" }, value: total };
      });
      const rest = [
        { metricName: `${this.#name}_sum`, labels, value: sum },
        { metricName: `${this.#name}_count`, labels, value: total },
      ];
      return [...buckets, ...rest];
    });
    return { name: this.#name, help: this.#help, type: "histogram", values };
  }
}
