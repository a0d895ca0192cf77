import {
  ANY_ADDRESS,
  address,
  BOOL,
  CONFLIST,
  ENDPOINTS,
  type FlagType,
  HOST,
  int,
  LISTEN,
  oneOf,
  PATH,
  REGEX,
  SECRET,
  SOCKET,
  text,
} from "./flag-values.ts";

/** Why a flag is refused for now. Taking the entry away from the table makes the flag available. */
interface NotYet {
  /** a value that asks for nothing and is therefore accepted, as it is on the command line */
  readonly neutral?: string;
  /** the next step for whoever wants it */
  readonly next?: string;
}

/** One flag of the agent. */
interface FlagSpec {
  readonly group: string;
  readonly type: FlagType<unknown>;
  readonly usage: string;
  /** the text that stands for a flag that is not given; without it the flag is not set */
  readonly default?: string;
  /** each occurrence adds a value */
  readonly repeatable?: true;
  readonly alias?: string;
  /** false: command line only */
  readonly env?: false;
  /** the lease source that the flag is about; flags of two sources exclude each other */
  readonly leaseSource?: "embedded" | "etcd" | "kubernetes";
  readonly notYet?: NotYet;
}

/** 32 bits, signed: the range of klog's levels. */
const INT32_MAX = 2 ** 31 - 1;

/**
 * Every flag of the agent: all of flanneld's (its main.go) with their names and defaults, and our own. The command line,
 * the environment, the checks, `--help` and the README's reference all come from here. The order is that of the help.
 */
export const FLAGS = {
  "lease-store": {
    group: "Lease source",
    type: PATH,
    usage: "file of the embedded lease store; agents on one machine share it",
    leaseSource: "embedded",
  },
  "subnet-lease-renew-margin": {
    group: "Lease source",
    type: int(1, 1439),
    default: "60",
    usage: "minutes before its end at which a lease is renewed",
  },

  "net-config-path": {
    group: "Network",
    type: PATH,
    default: "/etc/kube-flannel/net-conf.json",
    usage: "file with the network's configuration",
  },
  "subnet-file": {
    group: "Network",
    type: PATH,
    default: "/run/flannel/subnet.env",
    usage: "file to which subnet and MTU are written for the CNI plugin",
  },
  "cni-conf-file": {
    group: "Network",
    type: CONFLIST,
    usage: "conflist for the container runtime, written once the agent is ready; not given: not written",
  },
  "cni-conf-source": {
    group: "Network",
    type: PATH,
    default: "/etc/kube-flannel/cni-conf.json",
    usage: "file whose text --cni-conf-file gets; read once at each start",
  },
  resync: {
    group: "Network",
    type: int(0, 86_400),
    default: "60",
    usage: "seconds between full comparisons with the kernel; 0 leaves them out",
  },
  "ip-masq": {
    group: "Network",
    type: BOOL,
    default: "false",
    usage: "masquerade traffic that leaves the pod network",
  },
  "ip-masq-fully-random-disable": {
    group: "Network",
    type: BOOL,
    default: "false",
    usage: "masquerade without fully random source ports",
  },
  "iptables-forward-rules": {
    group: "Network",
    type: BOOL,
    default: "true",
    usage: "accept forwarded traffic of the pod network",
  },
  "iptables-resync": {
    group: "Network",
    type: int(1, 86_400),
    default: "5",
    usage: "seconds between checks of the packet filter's rules, in iptables and nftables mode",
  },
  "ip-blackhole-route": {
    group: "Network",
    type: BOOL,
    default: "false",
    usage: "keep a blackhole route for the node's own subnet, behind every other route",
  },
  "vxlan-tx-checksum": {
    group: "Network",
    type: oneOf("auto", "on", "off"),
    default: "auto",
    usage: "checksum offload of the VXLAN devices; auto turns it off where kernel and driver are known bad",
  },

  iface: {
    group: "External interface",
    type: text("NAME|IP"),
    repeatable: true,
    usage: "interface that carries the traffic between nodes; the first that matches is taken",
  },
  "iface-regex": {
    group: "External interface",
    type: REGEX,
    repeatable: true,
    usage: "pattern of its address or name, tried in order after every --iface",
  },
  "iface-can-reach": {
    group: "External interface",
    type: ANY_ADDRESS,
    usage: "the interface that the kernel would use towards this address, tried after every --iface and --iface-regex",
  },
  "public-ip": {
    group: "External interface",
    type: address(4),
    usage: "IPv4 address that the other nodes send to; else the interface's",
  },
  "public-ipv6": {
    group: "External interface",
    type: address(6),
    usage: "IPv6 address that the other nodes send to; else the interface's",
  },

  "healthz-ip": {
    group: "Health and state",
    type: HOST,
    default: "0.0.0.0",
    usage: "address for /healthz and /readyz",
  },
  "healthz-port": {
    group: "Health and state",
    type: int(0, 65_535),
    default: "0",
    usage: "port for /healthz and /readyz; 0 turns them off there",
  },
  "debug-addr": {
    group: "Health and state",
    type: LISTEN,
    default: "127.0.0.1:8285",
    repeatable: true,
    usage: "where /healthz, /readyz and /debug/… are to be read: HOST:PORT, [IPv6]:PORT, unix:/PATH, or off",
  },
  "debug-socket": {
    group: "Health and state",
    type: SOCKET,
    default: "/run/tartan/debug.sock",
    usage: "unix socket that takes commands beside what --debug-addr tells; for root alone; or off",
  },
  "probe-interval": {
    group: "Health and state",
    type: int(0, 3600),
    default: "10",
    usage: "seconds between rounds of probes to the other nodes; 0 turns them off",
  },
  "set-node-network-unavailable": {
    group: "Health and state",
    type: BOOL,
    default: "true",
    usage: "with --kube-subnet-mgr, set the Node's NetworkUnavailable condition to false once ready",
  },
  "peer-metrics": {
    group: "Health and state",
    type: BOOL,
    default: "false",
    usage: "give /metrics series of each peer as well, some eight of each: for small clusters",
  },

  v: {
    group: "Logs",
    type: int(-INT32_MAX, INT32_MAX),
    default: "0",
    usage: "log level; higher says more",
  },
  "log-format": { group: "Logs", type: oneOf("text", "json"), default: "text", usage: "form of a log line" },
  vmodule: {
    group: "Logs",
    type: text("PATTERN=N,…"),
    usage: "log levels of single source files",
    notYet: { next: "raise -v" },
  },
  log_backtrace_at: {
    group: "Logs",
    type: text("FILE:N"),
    usage: "log a stack trace at this line",
    notYet: { next: "raise -v" },
  },

  "kube-subnet-mgr": {
    group: "Kubernetes",
    type: BOOL,
    default: "false",
    usage: "take leases from the Kubernetes API instead of etcd",
    leaseSource: "kubernetes",
  },
  "kube-api-url": {
    group: "Kubernetes",
    type: text("URL"),
    usage: "the API server; not needed in a pod",
    leaseSource: "kubernetes",
  },
  "kube-annotation-prefix": {
    group: "Kubernetes",
    type: text("PREFIX"),
    default: "flannel.alpha.coreos.com",
    usage: "prefix of the Node annotations that hold a lease",
    leaseSource: "kubernetes",
  },
  "kubeconfig-file": {
    group: "Kubernetes",
    type: PATH,
    usage: "kubeconfig file; not needed in a pod",
    leaseSource: "kubernetes",
  },

  "etcd-endpoints": {
    group: "etcd",
    type: ENDPOINTS,
    default: "http://127.0.0.1:4001,http://127.0.0.1:2379",
    usage: "etcd's addresses, separated by commas; the next is asked when one does not answer",
    leaseSource: "etcd",
  },
  "etcd-prefix": {
    group: "etcd",
    type: text("KEY"),
    default: "/coreos.com/network",
    usage: "key under which configuration and leases are",
    leaseSource: "etcd",
  },
  "etcd-keyfile": {
    group: "etcd",
    type: PATH,
    usage: "key of the client's TLS certificate",
    leaseSource: "etcd",
  },
  "etcd-certfile": {
    group: "etcd",
    type: PATH,
    usage: "the client's TLS certificate",
    leaseSource: "etcd",
  },
  "etcd-cafile": {
    group: "etcd",
    type: PATH,
    usage: "certificate authority of etcd's TLS certificates",
    leaseSource: "etcd",
  },
  "etcd-username": {
    group: "etcd",
    type: text("NAME"),
    usage: "user name at etcd",
    leaseSource: "etcd",
  },
  "etcd-password": {
    group: "etcd",
    type: SECRET,
    usage: "password at etcd",
    leaseSource: "etcd",
  },

  help: { group: "Other", type: BOOL, default: "false", alias: "h", env: false, usage: "print this text and exit" },
  version: { group: "Other", type: BOOL, default: "false", env: false, usage: "print the version and exit" },
} as const satisfies Record<string, FlagSpec>;

export type FlagName = keyof typeof FLAGS;

/** The names in the table's order. */
export const FLAG_NAMES = Object.keys(FLAGS) as FlagName[];

/** The entry of a flag with the optional fields that not every entry has. */
export function flagSpec(name: FlagName): FlagSpec {
  return FLAGS[name];
}

/** The flag of that name or alias, as it stands behind its dashes. */
export function findFlag(name: string): FlagName | undefined {
  return FLAG_NAMES.find((known) => known === name || flagSpec(known).alias === name);
}

/** `FLANNELD_ETCD_ENDPOINTS` for `etcd-endpoints`; undefined if the flag is for the command line only. */
export function envNameOf(name: FlagName): string | undefined {
  return flagSpec(name).env === false ? undefined : `FLANNELD_${name.toUpperCase().replaceAll("-", "_")}`;
}

/** How the flag is written: `--iface`, `-v`. */
export function dashed(name: FlagName): string {
  return name.length === 1 ? `-${name}` : `--${name}`;
}
