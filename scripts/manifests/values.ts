import { Document, isMap, type Scalar, type YAMLMap } from "yaml";
import { IMAGE } from "../image/reference.ts";

/** What YAML can hold. */
export type Given = string | number | boolean | readonly Given[] | { readonly [key: string]: Given };

interface ValueSpec {
  readonly path: string;
  readonly default: Given;
  /** lines; those of the first value in a section stand over the section */
  readonly comment?: string;
}

/** One that has no default: the values file has it as a comment. */
interface OptionSpec {
  readonly path: string;
  readonly example: Given;
  readonly comment?: string;
}

const separator = IMAGE.lastIndexOf(":");

/** As kube-flannel.yml has it. An older cniVersion than the plugins know is one that every container runtime can read. */
const CNI_CONF = {
  name: "cbr0",
  cniVersion: "0.3.1",
  plugins: [
    { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
};

/**
 * The chart's values under the names that flannel's chart has for them, so that a values file for that one will do; their
 * defaults are what the plain manifest has.
 */
const VALUES: readonly (ValueSpec | OptionSpec)[] = [
  {
    path: "global.imagePullSecrets",
    default: [],
    comment: "Secrets of the release's namespace to pull the image with: a list of {name: …}",
  },
  {
    path: "podCidr",
    default: "10.244.0.0/16",
    comment: "IPv4 network of the pods, the --cluster-cidr of kube-controller-manager; empty: no IPv4",
  },
  { path: "podCidrv6", default: "", comment: "IPv6 network of the pods; empty: no IPv6" },
  { path: "flannel.image.repository", default: IMAGE.slice(0, separator) },
  { path: "flannel.image.tag", default: IMAGE.slice(separator + 1) },
  { path: "flannel.cniBinDir", default: "/opt/cni/bin", comment: "where the container runtime finds CNI plugins" },
  { path: "flannel.cniConfDir", default: "/etc/cni/net.d", comment: "where it finds the CNI configuration" },
  {
    path: "flannel.skipCNIConfigInstallation",
    default: false,
    comment: "true: somebody else writes the CNI configuration, and the agent gets no access to cniConfDir",
  },
  { path: "flannel.enableNFTables", default: false, comment: "rules of nftables, not of iptables" },
  {
    path: "flannel.args",
    default: ["--ip-masq", "--kube-subnet-mgr"],
    comment: "the agent's flags; those of its health port are added",
  },
  {
    path: "flannel.backend",
    default: "vxlan",
    comment: "vxlan, host-gw, wireguard, udp, …; not to be changed while pods run",
  },
  { path: "flannel.backendPort", example: 8472, comment: "options of the backend; vxlan, wireguard, udp: UDP port" },
  {
    path: "flannel.mtu",
    example: 1500,
    comment: "vxlan, wireguard: MTU of the interface between the nodes, if not its own",
  },
  { path: "flannel.vni", example: 1, comment: "vxlan" },
  { path: "flannel.GBP", example: false, comment: "vxlan: group based policy" },
  { path: "flannel.directRouting", example: false, comment: "vxlan: plain routes between nodes on one link" },
  { path: "flannel.backendPortv6", example: 51821, comment: "wireguard: UDP port for IPv6" },
  { path: "flannel.psk", example: "", comment: "wireguard: preshared key" },
  { path: "flannel.tunnelMode", example: "separate", comment: "wireguard: separate, auto, ipv4, ipv6" },
  { path: "flannel.keepaliveInterval", example: 0, comment: "wireguard: seconds" },
  { path: "flannel.cniConf", default: `${JSON.stringify(CNI_CONF, null, 2)}\n`, comment: "the CNI configuration" },
  {
    path: "flannel.resources",
    // Measured: 68 MB resident in a small cluster, 120 MB with 5,000 nodes, 0.5 % of a core at rest. A CPU limit would
    // make a node wait for its network just when there is much to do; the memory limit is four times what was ever
    // seen, and stops a leak before it takes the node's memory.
    default: { requests: { cpu: "10m", memory: "80Mi" }, limits: { memory: "512Mi" } },
    comment: "70 MB of memory are used in a small cluster, 120 MB with 5,000 nodes; 0.5 % of a core at rest",
  },
  {
    path: "flannel.healthz.port",
    // Outside of the ports that nodes hand out (30000 and above), that the kubelet and its neighbours have (10248 to
    // 10259) and that IANA has given away; flannel's own, 8081, is everybody's second choice for a web server.
    default: 10285,
    comment: "port on 127.0.0.1 for /healthz and /readyz; 0: no probes",
  },
  {
    path: "flannel.healthz.livenessProbe",
    default: { initialDelaySeconds: 10, periodSeconds: 30, timeoutSeconds: 5 },
  },
  {
    path: "flannel.healthz.readinessProbe",
    default: { initialDelaySeconds: 1, periodSeconds: 5, timeoutSeconds: 5 },
  },
  {
    path: "flannel.maxUnavailable",
    default: 1,
    comment:
      "nodes whose agent is replaced at a time, as a number; with 1 a version that does not work stops at the first\n" +
      "node. Not in flannel's chart. Pods keep their network meanwhile",
  },
  {
    path: "flannel.minReadySeconds",
    default: 10,
    comment: "how long an agent has to be ready before the next is replaced. Not in flannel's chart",
  },
  {
    path: "flannel.tolerations",
    default: [
      { effect: "NoExecute", operator: "Exists" },
      { effect: "NoSchedule", operator: "Exists" },
    ],
  },
  { path: "flannel.nodeSelector", default: {} },
  {
    path: "monitoring.enabled",
    default: false,
    comment:
      "true: the agent listens at its node's address, too, where whoever reaches it can read (not change) what the agent\n" +
      "knows; with a ServiceMonitor and a PrometheusRule for Prometheus' operator, and a dashboard for Grafana. Not in\n" +
      "flannel's chart",
  },
  { path: "monitoring.port", default: 8285, comment: "port for /metrics and /debug; let Prometheus in, and no others" },
  { path: "monitoring.interval", default: "30s", comment: "between two scrapes" },
  {
    path: "monitoring.labels",
    default: {},
    comment:
      "further labels of ServiceMonitor and PrometheusRule, by which Prometheus finds them, such as {release: prometheus}",
  },
];

/** Values that flannel's chart has and that mean nothing here. */
const WITHOUT_MEANING = ["flannel.flannel_cni (one image has the CNI plugin, too)", "flannel.macPrefix (Windows)"];

function isOption(spec: ValueSpec | OptionSpec): spec is OptionSpec {
  return "example" in spec;
}

/** The default of a value. @throws Error if there is none */
export function valueAt(path: string): Given {
  const spec = VALUES.find((one) => one.path === path);
  if (spec === undefined || isOption(spec)) throw new Error(`the chart has no value ${path} with a default`);
  return spec.default;
}

/** The chart's values file. */
export function valuesFile(): string {
  const document = new Document({});
  let pending: string[] = [];
  for (const spec of VALUES) {
    const comment = (spec.comment ?? "")
      .split("\n")
      .filter(Boolean)
      .map((line) => ` ${line}`);
    const path = spec.path.split(".");
    if (isOption(spec)) {
      pending.push(` ${path.at(-1)}: ${JSON.stringify(spec.example)}${spec.comment ? `  # ${spec.comment}` : ""}`);
      continue;
    }
    document.setIn(path, document.createNode(spec.default));
    const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1));
    const key = keyOf(parent, path.at(-1) ?? "");
    const lines = [...pending, ...comment];
    if (lines.length > 0) key.commentBefore = lines.join("\n");
    pending = [];
  }
  document.commentBefore = [
    "Made by `npm run manifests`. The names are those of flannel's chart.",
    "Install into a namespace with the label pod-security.kubernetes.io/enforce=privileged (the plain manifest has one).",
    `Without meaning here: ${WITHOUT_MEANING.join(", ")}. netpol.enabled is refused.`,
  ]
    .map((line) => ` ${line}`)
    .join("\n");
  return document.toString({ lineWidth: 0 });
}

/** The node of a map's key, which can carry a comment. */
function keyOf(map: unknown, name: string): Scalar {
  if (!isMap(map)) throw new Error(`${name} is in no map`);
  const pair = (map as YAMLMap<Scalar>).items.find(({ key }) => (typeof key === "object" ? key.value : key) === name);
  if (pair === undefined) throw new Error(`there is no ${name}`);
  if (typeof pair.key === "object") return pair.key;
  const key = new Document().createNode(name) as Scalar;
  pair.key = key;
  return key;
}
