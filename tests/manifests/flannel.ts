// A cluster's objects as flannel's kube-flannel.yml leaves them: names, labels and fields of that, no more than the tests
// need. Written as JSON, which is YAML.

const named = (name: string, labels: object = {}) => ({
  name,
  namespace: "kube-flannel",
  labels: { "k8s-app": "flannel", ...labels },
});
const mount = (name: string, mountPath: string) => ({ name, mountPath });
const onHost = (name: string, path: string) => ({ name, hostPath: { path } });

const pod = {
  hostNetwork: true,
  serviceAccountName: "flannel",
  tolerations: [{ operator: "Exists", effect: "NoSchedule" }],
  initContainers: ["install-cni-plugin", "install-cni"].map((name) => ({
    name,
    image: "example.org/flannel:v0.0.1",
    command: ["cp"],
    args: ["-f", "/from", "/to"],
    volumeMounts: [mount("cni", "/etc/cni/net.d")],
  })),
  containers: [
    {
      name: "kube-flannel",
      image: "example.org/flannel:v0.0.1",
      command: ["/opt/bin/flanneld"],
      args: ["--ip-masq", "--kube-subnet-mgr"],
      ports: [{ name: "healthz", containerPort: 8081, protocol: "TCP" }],
      livenessProbe: { httpGet: { path: "/healthz", port: "healthz" }, periodSeconds: 30 },
      securityContext: { privileged: false, capabilities: { add: ["NET_ADMIN", "NET_RAW"] } },
      env: [
        { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
        { name: "POD_NAMESPACE", valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
        { name: "EVENT_QUEUE_DEPTH", value: "5000" },
      ],
      volumeMounts: [mount("run", "/run/flannel"), mount("flannel-cfg", "/etc/kube-flannel/")],
    },
  ],
  volumes: [
    onHost("run", "/run/flannel"),
    onHost("cni", "/etc/cni/net.d"),
    { name: "flannel-cfg", configMap: { name: "kube-flannel-cfg" } },
  ],
};

const OBJECTS = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "kube-flannel", labels: { "k8s-app": "flannel" } } },
  { apiVersion: "v1", kind: "ServiceAccount", metadata: named("flannel") },
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "flannel" },
    rules: [
      { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
      { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch"] },
      { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
    ],
  },
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: "flannel" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "flannel" },
    subjects: [{ kind: "ServiceAccount", name: "flannel", namespace: "kube-flannel" }],
  },
  {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: named("kube-flannel-cfg", { tier: "node", app: "flannel" }),
    data: { "net-conf.json": '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}', "cni-conf.json": "{}" },
  },
  {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: named("kube-flannel-ds", { tier: "node", app: "flannel" }),
    spec: {
      selector: { matchLabels: { app: "flannel" } },
      template: { metadata: { labels: { tier: "node", app: "flannel" } }, spec: pod },
    },
  },
];

export const FLANNEL = JSON.stringify({ apiVersion: "v1", kind: "List", items: OBJECTS });
