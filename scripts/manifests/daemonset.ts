import { DEBUG_ADDRESSES, NODE_IP, PORT } from "./monitoring/objects.ts";
import { number, spread, spreadInMap, type Tree, text, When, whenGiven } from "./tree.ts";
import { valueAt } from "./values.ts";

/** The executable's name in the image is flanneld's, so that a command line written for that one runs this one. */
const EXECUTABLE = "/opt/bin/flanneld";

const image = text("%s:%s", "flannel.image.repository", "flannel.image.tag");
const skipsConf = valueAt("flannel.skipCNIConfigInstallation") === true;
const installsConf = (entries: readonly Tree[]): When =>
  new When("not .Values.flannel.skipCNIConfigInstallation", !skipsConf, entries);
const ifMonitored = (entries: When["entries"]): When => whenGiven("monitoring.enabled", entries);

/** Root without root's powers, and a file system of the image that nothing is written to. */
const restricted = (capabilities: readonly string[]): Tree => ({
  privileged: false,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"], add: capabilities },
});

const fromPod = (name: string, fieldPath: string): Tree => ({ name, valueFrom: { fieldRef: { fieldPath } } });
const hostPath = (name: string, path: Tree, type: string): Tree => ({ name, hostPath: { path, type } });

/**
 * The kubelet asks from the node's own network, where the agent is, too: nobody else needs to reach the port. Liveness is
 * that the agent's loop turns; readiness, that this node's part of the pod network is as it has to be.
 */
const probe = (path: string, settings: string): Tree => ({
  httpGet: { host: "127.0.0.1", path, port: number("flannel.healthz.port") },
  ...spreadInMap(settings),
});

/**
 * Copies the CNI plugin to the host, and sees to it that it runs there: the container runtime runs it with the host's C
 * library, wherever a distribution has that. So the whole root is there to be read, for the second that this takes.
 */
const installCni: Tree = {
  name: "install-cni",
  image,
  command: [EXECUTABLE, "install-cni"],
  args: ["--host-root=/host"],
  // Some installers give the folder to a user of its own; root without this capability could not write into it.
  securityContext: restricted(["DAC_OVERRIDE"]),
  volumeMounts: [
    { name: "cni-plugin", mountPath: "/opt/cni/bin" },
    { name: "host", mountPath: "/host", readOnly: true },
  ],
};

const agent: Tree = {
  name: "kube-flannel",
  image,
  command: [EXECUTABLE],
  args: [
    spread("flannel.args"),
    installsConf(["--cni-conf-file=/etc/cni/net.d/10-flannel.conflist"]),
    whenGiven("flannel.healthz.port", ["--healthz-ip=127.0.0.1", text("--healthz-port=%s", "flannel.healthz.port")]),
    ifMonitored(DEBUG_ADDRESSES),
  ],
  // NODE_NAME spares the agent the right to read pods.
  env: [
    fromPod("NODE_NAME", "spec.nodeName"),
    fromPod("POD_NAME", "metadata.name"),
    fromPod("POD_NAMESPACE", "metadata.namespace"),
    ifMonitored([NODE_IP]),
  ],
  ...ifMonitored({ ports: [PORT] }).inMap,
  ...whenGiven("flannel.resources", { resources: spreadInMap("flannel.resources") }).inMap,
  ...whenGiven("flannel.healthz.port", {
    livenessProbe: probe("/healthz", "flannel.healthz.livenessProbe"),
    readinessProbe: probe("/readyz", "flannel.healthz.readinessProbe"),
  }).inMap,
  securityContext: restricted(["NET_ADMIN", "NET_RAW"]),
  volumeMounts: [
    { name: "run", mountPath: "/run/flannel" },
    { name: "run-tartan", mountPath: "/run/tartan" },
    { name: "flannel-cfg", mountPath: "/etc/kube-flannel/" },
    { name: "xtables-lock", mountPath: "/run/xtables.lock" },
    installsConf([{ name: "cni", mountPath: "/etc/cni/net.d" }]),
  ],
};

const onLinux: Tree = {
  nodeAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: {
      nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/os", operator: "In", values: ["linux"] }] }],
    },
  },
};

const pod: Tree = {
  hostNetwork: true,
  priorityClassName: "system-node-critical",
  serviceAccountName: "flannel",
  securityContext: { seccompProfile: { type: "RuntimeDefault" } },
  affinity: onLinux,
  ...whenGiven("flannel.nodeSelector", { nodeSelector: spreadInMap("flannel.nodeSelector") }).inMap,
  ...whenGiven("flannel.tolerations", { tolerations: [spread("flannel.tolerations")] }).inMap,
  ...whenGiven("global.imagePullSecrets", { imagePullSecrets: [spread("global.imagePullSecrets")] }).inMap,
  initContainers: [installCni],
  containers: [agent],
  volumes: [
    hostPath("run", "/run/flannel", "DirectoryOrCreate"),
    // The agent's socket, where `tartan` finds it on the host.
    hostPath("run-tartan", "/run/tartan", "DirectoryOrCreate"),
    hostPath("cni-plugin", text("%s", "flannel.cniBinDir"), "DirectoryOrCreate"),
    hostPath("host", "/", "Directory"),
    installsConf([hostPath("cni", text("%s", "flannel.cniConfDir"), "DirectoryOrCreate")]),
    { name: "flannel-cfg", configMap: { name: "kube-flannel-cfg" } },
    hostPath("xtables-lock", "/run/xtables.lock", "FileOrCreate"),
  ],
};

/** The selector of a DaemonSet can't be changed: it is flannel's, so that flannel's DaemonSet can become this one. */
const selected = { app: "flannel" };

export const daemonSet = (metadata: Tree): Tree => ({
  apiVersion: "apps/v1",
  kind: "DaemonSet",
  metadata,
  spec: {
    selector: { matchLabels: selected },
    // One node after the other, and the next one only when the agent of this one was ready for a while: a version that
    // does not work stops at the first node, where flannel's or the version before left the kernel's state as it was.
    minReadySeconds: number("flannel.minReadySeconds"),
    updateStrategy: {
      type: "RollingUpdate",
      rollingUpdate: { maxUnavailable: number("flannel.maxUnavailable") },
    },
    template: { metadata: { labels: { tier: "node", ...selected } }, spec: pod },
  },
});
