// What has Prometheus' operator scrape the agents, and Grafana show them.
import { filled, type Hole, number, spreadInMap, type Tree, text } from "../tree.ts";
import { valueAt } from "../values.ts";
import { JOB, RULE_GROUPS } from "./alerts.ts";
import { DASHBOARD } from "./dashboard.ts";

/** The name of the container's port, by which the Service finds it. */
const PORT_NAME = "metrics";
export const NODE_IP: Tree = { name: "NODE_IP", valueFrom: { fieldRef: { fieldPath: "status.hostIP" } } };

/**
 * The agent is in the node's own network and listens on loopback alone. Prometheus comes from elsewhere, so the agent listens
 * at the node's address, too: the one that the cluster knows, not all that the node may have. What is there can only be
 * read; but it tells whoever reaches the port of nodes, addresses and configuration, so a firewall should let in no more
 * than Prometheus' nodes. (A NetworkPolicy does not hold for pods in the node's network.)
 */
export const DEBUG_ADDRESSES: readonly Tree[] = [
  `--debug-addr=127.0.0.1:${valueAt("monitoring.port")}`,
  // The kubelet puts the address in; brackets do for both families.
  text("--debug-addr=[$(NODE_IP)]:%s", "monitoring.port"),
];

/** Two pods of one node can't have the port at once, which the scheduler is told thereby. */
export const PORT: Tree = { name: PORT_NAME, containerPort: number("monitoring.port"), protocol: "TCP" };

interface Place {
  readonly namespace: Hole;
  readonly labels: Readonly<Record<string, string>>;
}

/** Many a Prometheus looks only at what has a label of its own. */
const wantedLabels = ({ labels }: Place): Tree => ({ ...labels, ...spreadInMap("monitoring.labels") });

/** The DaemonSet has the other labels, too. */
const METRICS_LABEL = { "app.kubernetes.io/component": "metrics" };

/** What the ServiceMonitor finds the agents by: nobody calls it. An agent that is not ready has the most to tell. */
const service = (place: Place): Tree => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "tartan-metrics", namespace: place.namespace, labels: { ...place.labels, ...METRICS_LABEL } },
  spec: {
    clusterIP: "None",
    publishNotReadyAddresses: true,
    selector: { app: "flannel" },
    ports: [{ name: PORT_NAME, port: number("monitoring.port"), targetPort: PORT_NAME, protocol: "TCP" }],
  },
});

const serviceMonitor = (place: Place): Tree => ({
  apiVersion: "monitoring.coreos.com/v1",
  kind: "ServiceMonitor",
  metadata: { name: "tartan", namespace: place.namespace, labels: wantedLabels(place) },
  spec: {
    selector: { matchLabels: { ...place.labels, ...METRICS_LABEL } },
    endpoints: [
      {
        port: PORT_NAME,
        path: "/metrics",
        interval: text("%s", "monitoring.interval"),
        // Alerts and dashboard name the node, whose address may change.
        relabelings: [
          { sourceLabels: ["__meta_kubernetes_pod_node_name"], targetLabel: "instance" },
          { targetLabel: "job", replacement: JOB },
        ],
      },
    ],
  },
});

const prometheusRule = (place: Place): Tree => ({
  apiVersion: "monitoring.coreos.com/v1",
  kind: "PrometheusRule",
  metadata: { name: "tartan", namespace: place.namespace, labels: wantedLabels(place) },
  spec: RULE_GROUPS,
});

/** Grafana's sidecar takes ConfigMaps with this label. */
const dashboard = (place: Place): Tree => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: {
    name: "tartan-dashboard",
    namespace: place.namespace,
    labels: { ...place.labels, grafana_dashboard: "1" },
  },
  data: { "tartan.json": dashboardText() },
});

export const dashboardText = (): string => `${JSON.stringify(DASHBOARD, null, 2)}\n`;

/** By the file that each is in. */
export const monitoringObjects = (place: Place): Readonly<Record<string, Tree>> => ({
  "service.yaml": service(place),
  "service-monitor.yaml": serviceMonitor(place),
  "rules.yaml": prometheusRule(place),
  "dashboard.yaml": dashboard(place),
});

/** The same for whoever has the plain manifest: a patch of the DaemonSet (RFC 6902). */
export const JSON_PATCH: readonly object[] = (() => {
  const container = "/spec/template/spec/containers/0";
  const add = (path: string, tree: Tree) => ({ op: "add", path: `${container}/${path}`, value: filled(tree) });
  return [...DEBUG_ADDRESSES.map((flag) => add("args/-", flag)), add("env/-", NODE_IP), add("ports", [PORT])];
})();
