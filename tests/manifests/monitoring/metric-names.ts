/** The metrics that a PromQL expression names, as tartan's are named, beside `up`. */
export function metricNames(expr: string): string[] {
  const outside = expr.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
  return [...new Set(outside.match(/\b(?:up|(?:tartan|process)_\w+)\b/g) ?? [])];
}

/** @returns those that are none of `known`, parts of histograms aside; `up` is Prometheus' own */
export function unknownMetrics(names: readonly string[], known: readonly string[]): string[] {
  return names.filter(
    (name) => name !== "up" && !known.includes(name) && !known.includes(name.replace(/_(bucket|sum|count)$/, "")),
  );
}
