import { UsageError } from "../base/errors.ts";
import type { Secret } from "../base/secret.ts";
import type { Address } from "../net/address.ts";
import type { PerFamily } from "../net/family.ts";
import { flagProblems } from "./check-flags.ts";
import type { ListenAddress, TcpAddress } from "./listen-address.ts";
import { type FlagValues, parseFlags } from "./parse-flags.ts";

/** What the agent was told on its command line and in its environment. */
export interface AgentFlags {
  /** print the help and exit; the other fields then have their defaults */
  readonly help: boolean;
  /** print the version and exit; likewise */
  readonly version: boolean;
  /** file of the embedded store; undefined: leases are elsewhere */
  readonly leaseStore?: string;
  /** undefined: leases are elsewhere */
  readonly etcd?: EtcdFlags;
  /** undefined: leases are elsewhere */
  readonly kubernetes?: KubernetesFlags;
  readonly netConfigPath: string;
  readonly subnetFile: string;
  /** undefined: somebody else gives the container runtime its CNI configuration */
  readonly cniConf?: CniConfFlags;
  /** names or addresses, in order of preference */
  readonly iface: readonly string[];
  /** patterns that compileInterfaceRegex takes */
  readonly ifaceRegex: readonly string[];
  /** the interface towards this address is taken where nothing else matches */
  readonly canReach?: Address;
  readonly publicIPs: PerFamily<Address>;
  readonly ipMasq: boolean;
  /** with fully random source ports, where that is supported */
  readonly ipMasqRandomFully: boolean;
  readonly forwardRules: boolean;
  /** seconds between checks of the rules */
  readonly rulesResyncSeconds: number;
  readonly ipBlackholeRoute: boolean;
  readonly vxlanTxChecksum: "auto" | "on" | "off";
  /** where /healthz and /readyz listen besides `debugAddresses` */
  readonly healthz?: TcpAddress;
  /** empty for `off` */
  readonly debugAddresses: readonly ListenAddress[];
  /** unix socket on which commands are taken; undefined for `off` */
  readonly debugSocket?: string;
  /** seconds between rounds of probes to the peers, 0 for none */
  readonly probeSeconds: number;
  /** whether the metrics have series of each peer */
  readonly peerMetrics: boolean;
  readonly logFormat: "text" | "json";
  readonly verbosity: number;
  /** seconds between full reconciles, 0 for none */
  readonly resyncSeconds: number;
  readonly renewMarginMinutes: number;
}

/** The CNI configuration: where it comes from, and the file that the container runtime reads. */
export interface CniConfFlags {
  readonly source: string;
  readonly file: string;
}

/** How etcd is reached. */
export interface EtcdFlags {
  /** `http://192.0.2.1:2379`, at least one */
  readonly endpoints: readonly string[];
  readonly prefix: string;
  /** in PEM form */
  readonly tls: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string };
  readonly username?: string;
  readonly password?: Secret;
}

/** How the Kubernetes API is reached, and what is written there. */
export interface KubernetesFlags {
  readonly apiUrl?: string;
  readonly kubeconfigFile?: string;
  readonly annotationPrefix: string;
  readonly setNodeNetworkUnavailable: boolean;
}

/**
 * Reads the agent's flags.
 * @param args the command line without the program's name
 * @throws UsageError, one line that names the flag and says what is allowed
 */
export function parseAgentFlags(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): AgentFlags {
  const parsed = parseFlags(args, environment);
  const flags = agentFlags(parsed.values);
  if (flags.help || flags.version) return flags;
  const problems = flagProblems(parsed);
  if (problems.length > 0) throw new UsageError(problems.join("; "));
  return flags;
}

function agentFlags(values: FlagValues): AgentFlags {
  const leaseStore = values["lease-store"];
  const publicIPs: PerFamily<Address> = {};
  if (values["public-ip"] !== undefined) publicIPs[4] = values["public-ip"];
  if (values["public-ipv6"] !== undefined) publicIPs[6] = values["public-ipv6"];
  const { "healthz-port": port, "iface-can-reach": canReach, "cni-conf-file": cniConfFile } = values;
  return {
    help: values.help,
    version: values.version,
    ...(leaseStore === undefined ? {} : { leaseStore }),
    ...(leaseStore === undefined ? clusterFlags(values) : {}),
    netConfigPath: values["net-config-path"],
    subnetFile: values["subnet-file"],
    ...(cniConfFile === undefined ? {} : { cniConf: { source: values["cni-conf-source"], file: cniConfFile } }),
    iface: values.iface,
    ifaceRegex: values["iface-regex"],
    ...(canReach === undefined ? {} : { canReach }),
    publicIPs,
    ipMasq: values["ip-masq"],
    ipMasqRandomFully: !values["ip-masq-fully-random-disable"],
    forwardRules: values["iptables-forward-rules"],
    rulesResyncSeconds: values["iptables-resync"],
    ipBlackholeRoute: values["ip-blackhole-route"],
    vxlanTxChecksum: values["vxlan-tx-checksum"],
    ...(port === 0 ? {} : { healthz: { kind: "tcp", host: values["healthz-ip"], port } as const }),
    debugAddresses: values["debug-addr"].filter((address) => address !== "off"),
    ...(values["debug-socket"] === "off" ? {} : { debugSocket: values["debug-socket"] }),
    probeSeconds: values["probe-interval"],
    peerMetrics: values["peer-metrics"],
    logFormat: values["log-format"],
    verbosity: values.v,
    resyncSeconds: values.resync,
    renewMarginMinutes: values["subnet-lease-renew-margin"],
  };
}

function clusterFlags(values: FlagValues): Pick<AgentFlags, "etcd" | "kubernetes"> {
  return values["kube-subnet-mgr"] ? { kubernetes: kubernetesFlags(values) } : { etcd: etcdFlags(values) };
}

function kubernetesFlags(values: FlagValues): KubernetesFlags {
  const { "kube-api-url": apiUrl, "kubeconfig-file": kubeconfigFile } = values;
  return {
    ...(apiUrl === undefined ? {} : { apiUrl }),
    ...(kubeconfigFile === undefined ? {} : { kubeconfigFile }),
    annotationPrefix: values["kube-annotation-prefix"],
    setNodeNetworkUnavailable: values["set-node-network-unavailable"],
  };
}

function etcdFlags(values: FlagValues): EtcdFlags {
  const { "etcd-cafile": caFile, "etcd-certfile": certFile, "etcd-keyfile": keyFile } = values;
  const { "etcd-username": username, "etcd-password": password } = values;
  // As etcd's own clients take an address without a scheme.
  const scheme = caFile === undefined && certFile === undefined ? "http" : "https";
  return {
    endpoints: values["etcd-endpoints"].map((given) => (given.includes("://") ? given : `${scheme}://${given}`)),
    prefix: values["etcd-prefix"],
    tls: {
      ...(caFile === undefined ? {} : { caFile }),
      ...(certFile === undefined ? {} : { certFile }),
      ...(keyFile === undefined ? {} : { keyFile }),
    },
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}
