// What the dashboard of Grafana shows, row by row.

/** Grafana's units. */
export type Unit = "short" | "s" | "bytes" | "percentunit" | "ops";

interface Target {
  readonly expr: string;
  readonly legend: string;
}

export interface Panel {
  readonly title: string;
  readonly help?: string;
  readonly kind: "stat" | "timeseries";
  readonly unit: Unit;
  /** of the 24 columns of a row */
  readonly width: number;
  readonly targets: readonly Target[];
  /** for a stat: from this value on it is red */
  readonly badFrom?: number;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

const ON = 'instance=~"$instance"';
const stat = (title: string, expr: string, badFrom?: number): Panel => ({
  title,
  kind: "stat",
  unit: "short",
  width: 4,
  targets: [{ expr, legend: "" }],
  ...(badFrom === undefined ? {} : { badFrom }),
});
const series = (title: string, unit: Unit, targets: Readonly<Record<string, string>>, help?: string): Panel => ({
  title,
  kind: "timeseries",
  unit,
  width: 8,
  targets: Object.entries(targets).map(([legend, expr]) => ({ expr, legend })),
  ...(help === undefined ? {} : { help }),
});
const rate = (metric: string, labels = ON) => `rate(${metric}{${labels}}[$__rate_interval])`;
const quantile = (q: number, metric: string, by = "") =>
  `histogram_quantile(${q}, sum by (le${by}) (${rate(`${metric}_bucket`)}))`;

export const ROWS: readonly Row[] = [
  {
    title: "Cluster",
    panels: [
      stat("Agents", 'count(up{job="tartan"})'),
      stat("Agents down", 'count(up{job="tartan"} == 0) or vector(0)', 1),
      stat("Nodes not ready", "count(tartan_ready == 0) or vector(0)", 1),
      stat("Ways down, node to node", 'sum(tartan_peers{state="down"})', 1),
      stat("Drift mended in an hour", "sum(increase(tartan_drift_found_total[1h]))"),
      stat("Agents without lease source", "count(tartan_lease_source_up == 0) or vector(0)", 1),
    ],
  },
  {
    title: "Peers and probes",
    panels: [
      series("Peers by state", "short", { "{{state}}": `sum by (state) (tartan_peers{${ON}})` }),
      series("Peers by verdict", "short", {
        "{{verdict}} {{family}}": `sum by (verdict, family) (tartan_probe_peers{${ON}})`,
      }),
      series(
        "Loss of probes",
        "percentunit",
        {
          "{{path}} {{family}}": `1 - sum by (path, family) (${rate("tartan_probe_replies_total")}) / sum by (path, family) (${rate("tartan_probe_requests_total")})`,
        },
        "Where overlay and underlay both lose, it is the network between the nodes.",
      ),
      series("Round trip, median", "s", { "{{path}}": quantile(0.5, "tartan_probe_rtt_seconds", ", path") }),
      series("Round trip, 99 of 100 below", "s", { "{{path}}": quantile(0.99, "tartan_probe_rtt_seconds", ", path") }),
      series("MTU of the overlay devices", "bytes", {
        "{{family}} smallest": `min by (family) (tartan_device_mtu_bytes{${ON}})`,
        "{{family}} largest": `max by (family) (tartan_device_mtu_bytes{${ON}})`,
      }),
    ],
  },
  {
    title: "Leases",
    panels: [
      series("Leases as a node sees them", "short", { "{{state}}": `max by (state) (tartan_leases{${ON}})` }),
      series("Since the lease source last answered", "s", {
        "{{instance}}": `time() - tartan_lease_source_last_contact_timestamp_seconds{${ON}}`,
      }),
      series("From a change of leases to the kernel", "s", {
        median: quantile(0.5, "tartan_lease_follow_duration_seconds"),
        "99 of 100 below": quantile(0.99, "tartan_lease_follow_duration_seconds"),
      }),
    ],
  },
  {
    title: "Kernel and rules",
    panels: [
      series("Operations", "ops", {
        "{{operation}}": `sum by (operation) (${rate("tartan_kernel_operations_total")}) > 0`,
      }),
      series("Drift mended", "ops", {
        "{{operation}}": `sum by (operation) (${rate("tartan_drift_repaired_total")}) > 0`,
        "rules: {{kind}}": `sum by (kind) (${rate("tartan_rules_repaired_total")}) > 0`,
      }),
      series("Operations that the kernel refused", "ops", {
        "{{operation}}": `sum by (operation) (${rate("tartan_kernel_operation_failures_total")}) > 0`,
      }),
      series("Time of a reconcile", "s", {
        median: quantile(0.5, "tartan_apply_duration_seconds"),
        "99 of 100 below": quantile(0.99, "tartan_apply_duration_seconds"),
      }),
      series("Loop and full reads", "ops", {
        turns: `sum(${rate("tartan_loop_turns_total")})`,
        "full reads": `sum(${rate("tartan_kernel_full_reads_total")})`,
      }),
      series("Packet filter", "ops", {
        looks: `sum(${rate("tartan_rules_looks_total")})`,
        checks: `sum(${rate("tartan_rules_checks_total")})`,
        writes: `sum(${rate("tartan_rules_writes_total")})`,
        processes: `sum(${rate("tartan_rules_forks_total")})`,
      }),
    ],
  },
  {
    title: "Agents",
    panels: [
      series("CPU", "percentunit", { "{{instance}}": rate("process_cpu_seconds_total", `job="tartan",${ON}`) }),
      series("Memory", "bytes", { "{{instance}}": `process_resident_memory_bytes{job="tartan",${ON}}` }),
      series("Events", "ops", { "{{kind}}": `sum by (kind) (${rate("tartan_events_total")}) > 0` }),
      series("Not as it should be", "short", {
        "{{condition}}: not ready": `sum by (condition) (1 - tartan_condition{${ON}}) > 0`,
        "{{condition}}: warnings": `sum by (condition) (tartan_warnings{${ON}}) > 0`,
      }),
      series("Versions", "short", { "{{version}}": `count by (version) (tartan_build_info{${ON}})` }),
      series("Open files", "short", { "{{instance}}": `process_open_fds{job="tartan",${ON}}` }),
    ],
  },
];
