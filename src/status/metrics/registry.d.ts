/** The part of prom-client that makes the text. Its entry would also load node's HTTP client and cluster: 2 MB, for nothing. */
declare module "prom-client/lib/registry.js" {
  interface Given {
    /** the registry takes `_total` off a counter's, where the format adds it to the samples */
    name: string;
    readonly type: "gauge" | "counter" | "histogram";
    get(): Promise<{
      readonly name: string;
      readonly help: string;
      readonly type: Given["type"];
      readonly values: readonly {
        readonly metricName?: string;
        readonly labels: Readonly<Record<string, string | number>>;
        readonly sharedLabels: object;
        readonly value: number;
      }[];
    }>;
  }

  class Registry {
    static readonly PROMETHEUS_CONTENT_TYPE: string;
    static readonly OPENMETRICS_CONTENT_TYPE: string;
    readonly contentType: string;
    /** @throws TypeError if it is another one than these two */
    constructor(contentType: string);
    /** @throws Error if there is one of that name already */
    registerMetric(metric: Given): void;
    metrics(): Promise<string>;
  }

  export = Registry;
}
