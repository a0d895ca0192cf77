// The objects that run the agent on every node of a cluster. Names, labels and selector are those of flannel's
// kube-flannel.yml: applied over a cluster with flannel they replace it in place, node by node.
import { daemonSet } from "./daemonset.ts";
import { monitoringObjects } from "./monitoring/objects.ts";
import { Hole, type Tree } from "./tree.ts";
import { valueAt } from "./values.ts";

export const NAMESPACE = "kube-flannel";
const NAME = "flannel";
const LABELS = { "k8s-app": "flannel" };

/** Helm's release may be in any namespace. */
const namespace = new Hole(".Release.Namespace | quote", NAMESPACE);

/** net-conf.json as the values' defaults make it; the chart's helper writes the same. */
export const NET_CONF = {
  Network: `${valueAt("podCidr")}`,
  EnableNFTables: valueAt("flannel.enableNFTables") === true,
  Backend: { Type: `${valueAt("flannel.backend")}` },
};

export const jsonText = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

const namespaceObject: Tree = {
  apiVersion: "v1",
  kind: "Namespace",
  metadata: {
    name: NAMESPACE,
    // The agent is on the nodes' own network and mounts folders of theirs.
    labels: { ...LABELS, "pod-security.kubernetes.io/enforce": "privileged" },
  },
};

const serviceAccount: Tree = {
  apiVersion: "v1",
  kind: "ServiceAccount",
  metadata: { name: NAME, namespace, labels: LABELS },
};

/**
 * What the agent asks the API for, and no more. It reads its own Node (get), learns the others (list, watch), and writes
 * its lease's annotations and the NetworkUnavailable condition by way of the status (patch). flannel's role lets it read
 * pods as well, to learn its node's name; here that comes from NODE_NAME.
 */
const clusterRole: Tree = {
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRole",
  metadata: { name: NAME, labels: LABELS },
  rules: [
    { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch"] },
    { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
  ],
};

const clusterRoleBinding: Tree = {
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRoleBinding",
  metadata: { name: NAME, labels: LABELS },
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: NAME },
  subjects: [{ kind: "ServiceAccount", name: NAME, namespace }],
};

const configMap: Tree = {
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "kube-flannel-cfg", namespace, labels: { tier: "node", app: "flannel", ...LABELS } },
  data: {
    "cni-conf.json": new Hole(".Values.flannel.cniConf | trim", `${valueAt("flannel.cniConf")}`, true),
    "net-conf.json": new Hole('include "tartan.netConf" .', jsonText(NET_CONF), true),
  },
};

/** By the chart's template that they are in. The namespace of a chart is whoever's who installs it. */
export const OBJECTS: { readonly namespace: Tree; readonly templates: Readonly<Record<string, readonly Tree[]>> } = {
  namespace: namespaceObject,
  templates: {
    "access.yaml": [serviceAccount, clusterRole, clusterRoleBinding],
    "config.yaml": [configMap],
    "daemonset.yaml": [
      daemonSet({ name: "kube-flannel-ds", namespace, labels: { tier: "node", app: "flannel", ...LABELS } }),
    ],
  },
};

/** What watches over the agents, by the file that each is in. */
export const MONITORING = monitoringObjects({ namespace, labels: LABELS });
